//! A growable run of bytes that keeps up to 15 of them without an allocation: most chunks of a quiet host are that
//! small.

const INLINE: usize = 15;
/// What an allocator adds to a block, by header and rounding, as a fair estimate.
const ALLOCATION: usize = 16;

#[derive(Debug)]
pub(super) enum Buffer {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Vec<u8>),
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self::Inline { len: 0, bytes: [0; INLINE] }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(bytes) if bytes.capacity() == 0 => 0,
            Self::Heap(bytes) => bytes.capacity() + ALLOCATION,
        }
    }

    pub(super) fn as_ref(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }

    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Inline { len, bytes } => &mut bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }

    /// Makes room for `count` bytes at `at`; what they hold is not defined. A new block is a quarter larger than
    /// needed, but not larger than `enough` when that suffices.
    pub(super) fn open_gap(&mut self, at: usize, count: usize, enough: usize) {
        let old = self.as_ref().len();
        if count == 0 {
            return;
        }
        self.reserve(old + count, enough);
        self.resize(old + count);
        self.as_mut().copy_within(at..old, at + count);
    }

    /// Cuts, or adds bytes that are not defined. Gives back memory when more than half is unused after a cut.
    pub(super) fn resize(&mut self, new: usize) {
        if new > INLINE {
            self.reserve(new, new);
        }
        match self {
            Self::Inline { len, .. } => *len = new as u8,
            Self::Heap(bytes) if new < bytes.len() => {
                bytes.truncate(new);
                if bytes.capacity() - new > bytes.capacity() / 2 {
                    bytes.shrink_to(new + new / 4);
                }
            }
            Self::Heap(bytes) => bytes.resize(new, 0),
        }
    }

    fn reserve(&mut self, needed: usize, enough: usize) {
        let roomy = (needed + needed / 4).next_multiple_of(16);
        let capacity = if enough >= needed { roomy.min(enough) } else { roomy };
        match self {
            Self::Inline { len, bytes } if needed > INLINE => {
                let mut heap = Vec::with_capacity(capacity);
                heap.extend_from_slice(&bytes[..usize::from(*len)]);
                *self = Self::Heap(heap);
            }
            Self::Heap(bytes) if needed > bytes.capacity() => bytes.reserve_exact(capacity - bytes.len()),
            Self::Inline { .. } | Self::Heap(_) => {}
        }
    }
}
