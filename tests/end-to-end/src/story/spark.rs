//! A row of numbers as one line of blocks.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws numbers from 0 to `top`; what is more is drawn as `top`. Not more than `width` of them,
/// the last.
pub(super) fn spark(values: &[f64], top: f64, width: usize) -> String {
    values[values.len().saturating_sub(width)..]
        .iter()
        .map(|value| block(*value, top))
        .collect()
}

fn block(value: f64, top: f64) -> char {
    let share = if top > 0.0 {
        (value / top).clamp(0.0, 1.0)
    } else {
        0.0
    };
    // Anything above nothing is seen to be.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 7"
    )]
    let level = (share * 7.0).ceil() as usize;
    BLOCKS[level.min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_error_rate_is_seen_and_the_largest_fits() {
        assert_eq!(spark(&[0.0, 0.001, 0.1, 0.2, 9.0], 0.2, 10), "▁▂▅██");
        assert_eq!(spark(&[0.0, 0.0, 1.0], 1.0, 2), "▁█");
        assert_eq!(spark(&[f64::NAN, 1.0], 0.0, 2), "▁▁");
    }
}
