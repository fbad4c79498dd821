//! Without an export, spans cost nothing: no memory is allocated for them.

use domain::TraceContext;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use traces::{Span, SpanKind};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "passes every call on as it is")]
// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract, which is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn spans_allocate_nothing_while_nothing_is_exported() {
    let parent: TraceContext = "00-b1c4d9bb0fd954b28f748e59c91e396a-0f748e59c91e396a-01"
        .parse()
        .expect("a context");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for number in 0..1_000_i64 {
        let spans = [
            Span::child("INSERT notifications", SpanKind::Client),
            Span::of(&[parent, parent], "RunActivity:deliver", SpanKind::Server),
        ];
        for span in &spans {
            span.set("settle.attempt", number);
            span.describe(|span| span.set("server.address", number.to_string()));
            span.fail("503");
            assert_eq!(
                futures::executor::block_on(span.within(async { number })),
                number
            );
            assert_eq!(
                (span.context(), traces::current(), traces::is_on()),
                (None, None, false)
            );
        }
    }
    // The test's own threads make a few allocations.
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(
        allocations < 100,
        "{allocations} allocations for 2,000 spans"
    );
}
