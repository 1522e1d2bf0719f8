//! Things by name that are told once more after nobody holds them any more, and then go, as in
//! Traefik. There may be two who are told: each sees a thing's last values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    /// Scrapers of `/metrics`.
    Scrape = 1,
    /// A collector.
    Push = 2,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) value: Arc<T>,
    /// Who saw it since nothing but this registry holds it, as bits of [`Reader`].
    seen: u8,
}

/// Things by name.
pub(super) type Kept<K, T> = Mutex<BTreeMap<K, Entry<T>>>;

/// The thing of that name; held as long as the answer is.
pub(super) fn keep<K: Ord + Clone, T>(
    map: &Kept<K, T>,
    name: &K,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    let entry =
        map.entry(name.clone()).or_insert_with(|| Entry { value: Arc::new(make()), seen: 0 });
    entry.seen = 0;
    Arc::clone(&entry.value)
}

/// What this reader is to be told. What nobody held when it was told the last time is left out,
/// and goes when all of `readers` were told.
pub(super) fn sweep<K: Ord + Clone, T>(
    map: &Kept<K, T>,
    reader: Reader,
    readers: u8,
) -> Vec<(K, Arc<T>)> {
    let reader = reader as u8;
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    let mut told = Vec::with_capacity(map.len());
    map.retain(|name, entry| {
        let is_held = Arc::strong_count(&entry.value) > 1;
        let was_told = !is_held && entry.seen & reader != 0;
        entry.seen = if is_held { 0 } else { entry.seen | reader };
        if !was_told {
            told.push((name.clone(), Arc::clone(&entry.value)));
        }
        !(was_told && entry.seen & readers == readers)
    });
    told
}

/// Everything there is. For what is counted by connections and belongs to an entry point: it
/// stays when none is open.
pub(super) fn all<K: Ord + Clone, T>(map: &Kept<K, T>) -> Vec<(K, Arc<T>)> {
    let map = map.lock().unwrap_or_else(PoisonError::into_inner);
    map.iter().map(|(name, entry)| (name.clone(), Arc::clone(&entry.value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_readers_sees_a_thing_once_more() {
        let map = Kept::default();
        let both = Reader::Scrape as u8 | Reader::Push as u8;
        drop(keep(&map, &"a", || 1));
        let told = |reader| sweep(&map, reader, both).len();

        assert_eq!((told(Reader::Push), told(Reader::Push)), (1, 0));
        assert_eq!((told(Reader::Scrape), told(Reader::Scrape)), (1, 0));
        assert!(map.lock().unwrap().is_empty());
    }

    #[test]
    fn a_thing_that_comes_back_is_told_again_to_who_had_seen_the_last_of_it() {
        let map = Kept::default();
        let both = Reader::Scrape as u8 | Reader::Push as u8;
        drop(keep(&map, &"a", || 1));
        let told = |reader| sweep(&map, reader, both).len();
        assert_eq!((told(Reader::Push), told(Reader::Push)), (1, 0));

        let _held = keep(&map, &"a", || 2);

        assert_eq!((told(Reader::Push), told(Reader::Push)), (1, 1));
    }
}
