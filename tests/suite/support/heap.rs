//! Counts what a thread allocates, so that a test can detect whether wrong sizes in the input are trusted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(size: usize) {
    // A thread that ends still frees and allocates after its own cells are gone.
    let _gone = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    let _gone = TOTAL.try_with(|total| total.set(total.get().saturating_add(size)));
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller guarantees what `System` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees what `System` requires.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller guarantees what `System` requires.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller guarantees what `System` requires.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// What this thread allocated during a call, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub largest: usize,
    pub total: usize,
}

pub fn spent<T>(call: impl FnOnce() -> T) -> (T, Spent) {
    LARGEST.set(0);
    TOTAL.set(0);
    let result = call();
    (result, Spent { largest: LARGEST.get(), total: TOTAL.get() })
}
