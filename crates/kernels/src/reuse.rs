//! Memory that is used again.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An allocator for programs that train networks: the system's, but large blocks that are freed are kept for the next tensor.
///
/// Each step needs memory of the same sizes for activations and gradients. Given back to the system and taken again, every
/// page of it is cleared and mapped anew in every step, at a fraction of the speed of memory. What is kept and what is in
/// use are together at most an eighth more than what was once in use at the same time.
///
/// ```
/// #[global_allocator]
/// static MEMORY: isorate_kernels::Reuse = isorate_kernels::Reuse::new();
/// ```
pub struct Reuse {
    blocks: Mutex<Blocks>,
}

/// Blocks smaller than this are the system's business.
const LEAST: usize = 1 << 17;

/// Sizes that are told apart: four for each doubling.
const CLASSES: usize = 4 * 24;

/// The most blocks of a size that are kept.
const MOST: usize = 64;

/// The free blocks. An allocator must not panic, so sums, which cannot overflow, are not checked.
struct Blocks {
    /// Atomic only because they go from thread to thread.
    free: [[AtomicPtr<u8>; MOST]; CLASSES],
    counts: [usize; CLASSES],
    /// Bytes of the free blocks.
    kept: usize,
    /// Bytes of the blocks in use.
    used: usize,
    /// The most that were in use.
    peak: usize,
}

/// Size and alignment of the blocks of a class.
#[derive(Clone, Copy)]
struct Class {
    index: usize,
    layout: Layout,
}

impl Class {
    /// None if the system should do it.
    fn of(layout: Layout) -> Option<Self> {
        let size = layout.size();
        if size < LEAST || layout.align() > PAGE {
            return None;
        }
        // The next size of 1, 5/4, 6/4, 7/4 times a power of two.
        let step = 1 << (size.ilog2() - 2);
        let rounded = size.checked_next_multiple_of(step)?;
        let octave = rounded.ilog2();
        let index = 4 * (octave - LEAST.ilog2()) as usize + (rounded >> (octave - 2)) - 4;
        (index < CLASSES).then_some(Self { index, layout: Self::layout(index)? })
    }

    /// That of the class with an index.
    fn layout(index: usize) -> Option<Layout> {
        Layout::from_size_align((4 + index % 4) << (index / 4 + LEAST.ilog2() as usize - 2), PAGE).ok()
    }
}

/// The alignment of blocks.
const PAGE: usize = 1 << 12;

impl Blocks {
    /// A free block of the class.
    fn take(&mut self, Class { index, layout }: Class) -> Option<*mut u8> {
        self.used = self.used.wrapping_add(layout.size());
        self.peak = self.peak.max(self.used);
        let count = self.counts[index].checked_sub(1)?;
        self.counts[index] = count;
        self.kept = self.kept.wrapping_sub(layout.size());
        Some(*self.free[index][count].get_mut())
    }

    /// Whether the block is kept.
    fn put(&mut self, Class { index, layout }: Class, block: *mut u8) -> bool {
        self.used = self.used.wrapping_sub(layout.size());
        let count = self.counts[index];
        if count == MOST {
            return false;
        }
        *self.free[index][count].get_mut() = block;
        self.counts[index] += 1;
        self.kept = self.kept.wrapping_add(layout.size());
        true
    }

    /// A block to be given back to the system, as long as there is more than is worth to be kept.
    fn spare(&mut self) -> Option<(*mut u8, Layout)> {
        if self.kept.wrapping_add(self.used) <= self.peak.wrapping_add(self.peak / 8) {
            return None;
        }
        let index = self.counts.iter().position(|&count| count > 0)?;
        let layout = Class::layout(index)?;
        self.counts[index] -= 1;
        self.kept = self.kept.wrapping_sub(layout.size());
        Some((*self.free[index][self.counts[index]].get_mut(), layout))
    }
}

impl Reuse {
    /// An allocator that keeps nothing yet.
    pub const fn new() -> Self {
        let free = [const { [const { AtomicPtr::new(null_mut()) }; MOST] }; CLASSES];
        Self { blocks: Mutex::new(Blocks { free, counts: [0; CLASSES], kept: 0, used: 0, peak: 0 }) }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free block of the class, or one of the system; and whether it is cleared.
    fn block(&self, class: Class, cleared: bool) -> (*mut u8, bool) {
        if let Some(block) = self.blocks().take(class) {
            return (block, false);
        }
        while let Some((block, layout)) = { self.blocks().spare() } {
            // SAFETY: the block came from the system with this layout, and nobody else has it.
            unsafe { System.dealloc(block, layout) };
        }
        // SAFETY: sizes of classes are not 0.
        let block = unsafe { if cleared { System.alloc_zeroed(class.layout) } else { System.alloc(class.layout) } };
        if block.is_null() {
            let mut blocks = self.blocks();
            blocks.used = blocks.used.wrapping_sub(class.layout.size());
        }
        (block, cleared)
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a block is in use or among the free ones, never both, and is at least as large and as aligned as was asked for,
// since its class depends on size and alignment alone; what has no class is the system's from beginning to end.
unsafe impl GlobalAlloc for Reuse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Class::of(layout) {
            Some(class) => self.block(class, false).0,
            // SAFETY: as the caller promises.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Class::of(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let (block, cleared) = self.block(class, true);
        if !cleared {
            // SAFETY: the block is free, not null, and has room for the size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let layout = match Class::of(layout) {
            Some(class) if self.blocks().put(class, block) => return,
            Some(class) => class.layout,
            None => layout,
        };
        // SAFETY: the block came from the system with this layout, as the caller promises or by its class.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size does not overflow with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Class::of(layout), Class::of(new)) {
            // SAFETY: as the caller promises.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some(old), Some(new)) if old.index == new.index => block,
            // SAFETY: the new block is another one, and both are at least as large as what is copied.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).unwrap()
    }

    #[test]
    fn classes_are_large_enough_and_not_much_larger() {
        let mut last = None;
        for size in
            (LEAST - 1..1 << 20).step_by(97).chain((20..35).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
        {
            let Some(class) = Class::of(layout(size)) else {
                assert!(size < LEAST);
                continue;
            };
            assert!(class.layout.size() >= size && class.layout.size() <= size + size / 4 + 1, "{size}");
            assert_eq!(Class::layout(class.index), Some(class.layout));
            assert!(last <= Some(class.index));
            last = Some(class.index);
        }
        assert!(Class::of(Layout::from_size_align(LEAST, 2 * PAGE).unwrap()).is_none());
        assert!(Class::of(layout(usize::MAX / 4)).is_none());
    }

    /// A block, written from end to end.
    fn block(memory: &Reuse, size: usize) -> *mut u8 {
        // SAFETY: the size is not 0, and the block has it.
        unsafe {
            let block = memory.alloc(layout(size));
            assert!(!block.is_null() && block.is_aligned());
            block.write_bytes(7, size);
            block
        }
    }

    #[test]
    fn a_block_that_is_freed_is_the_next_of_its_size() {
        let memory = Reuse::new();
        let size = 3 * LEAST;
        let (first, second) = (block(&memory, size), block(&memory, size));
        assert_ne!(first, second);
        // SAFETY: each block is freed once, with its layout, and read while it is in use.
        unsafe {
            memory.dealloc(first, layout(size));
            assert_eq!(block(&memory, size - 5), first);
            memory.dealloc(second, layout(size));
            let cleared = memory.alloc_zeroed(layout(size));
            assert_eq!(cleared, second);
            assert!(std::slice::from_raw_parts(cleared, size).iter().all(|&byte| byte == 0));
            memory.dealloc(cleared, layout(size));
            memory.dealloc(first, layout(size - 5));
        }
        assert_eq!(memory.blocks().used, 0);
        drop_all(&memory);
    }

    #[test]
    fn no_more_is_kept_than_was_needed() {
        let memory = Reuse::new();
        for size in [LEAST, 9 * LEAST, 3 * LEAST, 2 * LEAST] {
            let blocks = [(); 4].map(|()| block(&memory, size));
            // SAFETY: each block is freed once, with its layout.
            blocks.iter().for_each(|&block| unsafe { memory.dealloc(block, layout(size)) });
            let blocks = memory.blocks();
            assert!(blocks.used == 0 && blocks.kept <= blocks.peak + blocks.peak / 8);
        }
        // Of the largest, all four.
        assert!(memory.blocks().peak >= 36 * LEAST);
        drop_all(&memory);
    }

    #[test]
    fn vectors_that_grow_and_shrink_keep_their_numbers() {
        let memory = Reuse::new();
        let mut size = 1000;
        let mut block = block(&memory, size);
        for next in [LEAST - 1, LEAST, LEAST + 1, 10 * LEAST, 11 * LEAST, 2 * LEAST, 500] {
            // SAFETY: the block has the size, and `next` is not 0.
            unsafe {
                block = memory.realloc(block, layout(size), next);
                assert!(std::slice::from_raw_parts(block, size.min(next)).iter().all(|&byte| byte == 7), "{size} to {next}");
                block.write_bytes(7, next);
            }
            size = next;
        }
        // SAFETY: it is freed once, with its layout.
        unsafe { memory.dealloc(block, layout(size)) };
        drop_all(&memory);
    }

    #[test]
    fn threads_share_it() {
        let memory = Reuse::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let memory = &memory;
                scope.spawn(move || {
                    for step in 0..200 {
                        let size = LEAST + (step * 7919) % (3 * LEAST);
                        // SAFETY: the block has the size, is read and written by this thread, and freed once.
                        unsafe {
                            let block = memory.alloc(layout(size));
                            block.write_bytes(thread, size);
                            assert!(std::slice::from_raw_parts(block, size).iter().all(|&byte| byte == thread));
                            memory.dealloc(block, layout(size));
                        }
                    }
                });
            }
        });
        assert_eq!(memory.blocks().used, 0);
        drop_all(&memory);
    }

    /// Gives everything back.
    fn drop_all(memory: &Reuse) {
        let mut blocks = memory.blocks();
        blocks.peak = 0;
        while let Some((block, layout)) = blocks.spare() {
            // SAFETY: the block came from the system with this layout, and nobody else has it.
            unsafe { System.dealloc(block, layout) };
        }
        assert_eq!(blocks.kept, 0);
    }
}
