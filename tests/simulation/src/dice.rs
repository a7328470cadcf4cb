//! Chance that a seed decides: the same on every machine, and keyed, so that leaving one thing out
//! of a story does not reshuffle the luck of everything else.
//!
//! `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes two numbers into one that looks like neither.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(STEP)).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number for a text (FNV-1a, mixed).
pub fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(fnv, 0)
}

/// A stream of chance.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed, 0x7469_6465))
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0, 1)
    }

    /// A number below `n`; 0 if `n` is.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.roll() % n }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something happens that does so many times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let i = usize::try_from(self.below(of.len() as u64)).unwrap_or_default();
        of[i].clone()
    }

    /// How many of `n` happen that each do so `rate` times of 65,536.
    pub fn binomial(&mut self, n: u64, rate: u16) -> u64 {
        if rate == 0 {
            return 0;
        }
        let mut hits = 0;
        let mut left = n;
        while left > 0 {
            let bits = self.roll();
            for lane in 0..left.min(4) {
                let part = (bits >> (16 * lane)) & 0xFFFF;
                hits += u64::from(part < u64::from(rate));
            }
            left = left.saturating_sub(4);
        }
        hits
    }
}
