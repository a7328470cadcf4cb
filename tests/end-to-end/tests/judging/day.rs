//! A day in the world: minutes pass, and users' services publish what they count.

use anyhow::Result;
use tidegate_core::rollout::Rollout;
use tidegate_end_to_end::world::World;

use crate::common::{Book, finished};
use crate::shop::Shop;

pub(crate) struct Day<'a> {
    pub(crate) book: &'a mut Book,
    shops: Vec<Shop>,
}

impl<'a> Day<'a> {
    pub(crate) fn new(book: &'a mut Book) -> Self {
        Self {
            book,
            shops: Vec::new(),
        }
    }

    /// From now on a shop behind a group's endpoint publishes its counts: of a thousand checkouts
    /// by a variant's answers so many fail.
    pub(crate) async fn opens(
        &mut self,
        group: &'static str,
        failing: &[(&'static str, u64)],
    ) -> Result<()> {
        let now = self.book.world.admin().now().await?;
        self.shops.push(Shop::new(group, failing, now));
        Ok(())
    }

    /// Passes minute after minute, in which services publish, until `look` gives something.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        most_minutes: u32,
        mut look: impl AsyncFnMut(&World) -> Result<Option<T>>,
    ) -> Result<T> {
        let shops = &mut self.shops;
        self.book
            .until(what, most_minutes, async |world| {
                for shop in shops.iter_mut() {
                    shop.publish(world).await?;
                }
                look(world).await
            })
            .await
    }

    /// Passes so many minutes.
    pub(crate) async fn pass(&mut self, minutes: u32) -> Result<()> {
        let mut left = minutes + 1;
        self.until("minutes pass", minutes + 1, async |_| {
            left -= 1;
            Ok((left == 0).then_some(()))
        })
        .await
    }

    /// Passes minutes until a version's rollout has ended, with everything that it leaves to do.
    pub(crate) async fn ended(
        &mut self,
        group: &str,
        version: u32,
        most_minutes: u32,
    ) -> Result<Rollout> {
        let what = format!("the rollout of {group} v{version} ends");
        self.until(&what, most_minutes, async |world| {
            let finished = finished(world, group, version).await?;
            let is_over = finished.is_some() && world.ledger.pending(group).await? == 0;
            Ok(finished.filter(|_| is_over))
        })
        .await
    }

    /// Passes minutes until people were told something of a group: by the audit trail's word, with
    /// this in the subject.
    pub(crate) async fn told(
        &mut self,
        group: &str,
        what: &str,
        subject: &str,
        most_minutes: u32,
    ) -> Result<()> {
        for _ in 0..most_minutes {
            if self.times_told(group, what, subject).await? > 0 {
                return Ok(());
            }
            self.pass(1).await?;
        }
        let all = self.book.told_of(group);
        anyhow::bail!("people were not told {what}, {subject:?}, but: {all:#?}")
    }

    /// How often people were told that so far.
    pub(crate) async fn times_told(
        &mut self,
        group: &str,
        what: &str,
        subject: &str,
    ) -> Result<usize> {
        self.book.listen().await?;
        let all = self.book.told_of(group);
        let is_it = |told: &&&tidegate_end_to_end::notices::Told| {
            told.what.as_deref() == Some(what) && told.subject.contains(subject)
        };
        Ok(all.iter().filter(is_it).count())
    }
}
