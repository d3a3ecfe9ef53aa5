//! The same work for many streams, on several threads.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What `each` gives of all, in their order.
pub(super) fn on_threads<T: Send, R: Send>(
    threads: usize,
    all: Vec<T>,
    each: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.min(all.len());
    if threads < 2 {
        return all.into_iter().map(each).collect();
    }
    let left = Mutex::new(all.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    let next = || left.lock().next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, one)) = next() {
                    let gave = each(one);
                    done.lock().insert(number, gave);
                }
            });
        }
    });
    done.into_inner().into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::on_threads;

    #[test]
    fn each_is_done_once_and_told_in_order() {
        for threads in [0, 1, 3, 500] {
            let told = on_threads(threads, (0..100).collect(), |n| n * 2);
            assert_eq!(told, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        }
        assert!(on_threads(4, Vec::<u8>::new(), |n| n).is_empty());
    }
}
