//! What many viewers keep lies scattered over memory, cold from one frame to the next. Asked for ahead of its use it
//! comes while others are served, instead of being waited for line by line.

/// Bytes that come at once.
const LINE: usize = 64;

/// Asks for all of `value`. A hint: nothing is read, and on processors without one nothing is done.
pub fn prefetch<T>(value: &T) {
    let first = std::ptr::from_ref(value).cast::<i8>();
    let within = first.addr() % LINE;
    for offset in (0..within + size_of::<T>()).step_by(LINE) {
        line(first.wrapping_sub(within).wrapping_add(offset));
    }
}

/// Asks for the first and the last line of `value`, which may lie on two pages.
pub fn prefetch_ends<T>(value: &T) {
    let first = std::ptr::from_ref(value).cast::<i8>();
    line(first);
    line(first.wrapping_add(size_of::<T>().saturating_sub(1)));
}

#[cfg(target_arch = "x86_64")]
fn line(at: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: prefetching neither reads nor faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
}

#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const i8) {}
