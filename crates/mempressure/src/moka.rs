//! An adapter for caches of the `moka` crate.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use moka::sync::Cache as Moka;

use crate::cache::Cache;

type Weigh<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// A `moka` cache that gives memory back.
///
/// The cache needs a weigher that counts bytes ([`moka::sync::CacheBuilder::weigher`]); without one moka
/// counts entries, and so would the guard. moka does not tell which entries are coldest, so entries go in the
/// order of its iterator; a cache whose cold entries should go first needs a size limit of its own, too.
pub struct MokaCache<K, V, S> {
    cache: Moka<K, V, S>,
    weigh: Weigh<K, V>,
}

impl<K, V, S> MokaCache<K, V, S> {
    /// Adapts `cache`; `weigh` gives the same bytes for an entry as the cache's own weigher.
    pub fn new(
        cache: Moka<K, V, S>,
        weigh: impl Fn(&K, &V) -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { cache, weigh: Box::new(weigh) }
    }
}

impl<K, V, S> Cache for MokaCache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    fn used(&self) -> Option<u64> {
        Some(self.cache.weighted_size())
    }

    fn evict(&self, target: u64) -> u64 {
        // Inserts and removals take effect in moka's own time; both sides of the difference are after that.
        self.cache.run_pending_tasks();
        let before = self.cache.weighted_size();
        let mut chosen: Vec<Arc<K>> = Vec::new();
        let mut bytes = 0_u64;
        for (key, value) in &self.cache {
            if bytes >= target {
                break;
            }
            bytes = bytes.saturating_add((self.weigh)(&key, &value));
            chosen.push(key);
        }
        for key in &chosen {
            self.cache.invalidate(&**key);
        }
        self.cache.run_pending_tasks();
        before.saturating_sub(self.cache.weighted_size())
    }
}

impl<K, V, S> fmt::Debug for MokaCache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaCache").field("name", &self.cache.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_target_goes_and_what_went_is_claimed() {
        let weigh = |_: &u32, value: &Vec<u8>| value.len() as u64;
        let cache = Moka::builder()
            .max_capacity(1 << 20)
            .weigher(|_: &u32, value: &Vec<u8>| u32::try_from(value.len()).unwrap_or(u32::MAX))
            .build();
        for key in 0..100 {
            cache.insert(key, vec![0_u8; 1000]);
        }
        let adapter = MokaCache::new(cache.clone(), weigh);
        assert_eq!(adapter.evict(9_500), 10_000);
        assert_eq!(adapter.used(), Some(90_000));
        assert_eq!(cache.entry_count(), 90);
        assert_eq!(adapter.evict(u64::MAX), 90_000);
        assert_eq!(adapter.evict(1), 0);
    }
}
