//! What many viewers keep lies scattered over memory, cold from one frame to the next. Asked for ahead of its use it
//! comes while others are served, instead of being waited for line by line.

/// Bytes that come at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for all of `value`. A hint: nothing is read, and on processors without one nothing is done.
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(value).cast::<i8>();
        let within = first.addr() % LINE;
        for offset in (0..within + size_of::<T>()).step_by(LINE) {
            let line = first.wrapping_sub(within).wrapping_add(offset);
            // SAFETY: prefetching neither reads nor faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
