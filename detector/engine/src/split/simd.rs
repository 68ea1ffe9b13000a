//! Converts 64 bytes at a time to bit masks, with the widest available registers: portable, AVX2,
//! or AVX-512.
//!
//! The wider versions need processors with these features; [`Registers`] detects them. All versions
//! give the same masks.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_testz_si256, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_or_si512,
    _mm512_set1_epi8,
};

use wide::u8x16;

/// One bit per byte of a block, lowest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BlockMasks {
    /// Quotes.
    pub(super) quote: u64,
    /// Opening braces and brackets.
    pub(super) open: u64,
    /// Closing braces and brackets.
    pub(super) close: u64,
    /// Whether there are backslashes or line breaks.
    pub(super) rare: bool,
}

/// One bit per byte of a block, for characters that most blocks do not have.
pub(super) struct RareMasks {
    /// Backslashes.
    pub(super) backslash: u64,
    /// Line feeds.
    pub(super) newline: u64,
}

// Brackets and braces differ by one bit: `[` | 0x20 is `{`, `]` | 0x20 is `}`. So two comparisons
// find all four, and no other byte becomes one of them.
const FOLD: u8 = 0x20;

impl BlockMasks {
    /// With 16 bytes at a time, on every processor.
    pub(super) fn of(block: &[u8; 64]) -> Self {
        let mut masks = Self::default();
        let mut rare = u8x16::splat(0);
        let (lanes, _) = block.as_chunks::<16>();
        for (index, lane) in lanes.iter().enumerate() {
            let bytes = u8x16::new(*lane);
            let shift = index * 16;
            let folded = bytes | u8x16::splat(FOLD);
            masks.quote |= equal_128(bytes, b'"') << shift;
            masks.open |= equal_128(folded, b'{') << shift;
            masks.close |= equal_128(folded, b'}') << shift;
            rare |= bytes.simd_eq(u8x16::splat(b'\\')) | bytes.simd_eq(u8x16::splat(b'\n'));
        }
        masks.rare = rare.to_bitmask() != 0;
        masks
    }
}

impl RareMasks {
    pub(super) fn of(block: &[u8; 64]) -> Self {
        let mut rare = Self {
            backslash: 0,
            newline: 0,
        };
        let (lanes, _) = block.as_chunks::<16>();
        for (index, lane) in lanes.iter().enumerate() {
            let bytes = u8x16::new(*lane);
            rare.backslash |= equal_128(bytes, b'\\') << (index * 16);
            rare.newline |= equal_128(bytes, b'\n') << (index * 16);
        }
        rare
    }
}

fn equal_128(bytes: u8x16, byte: u8) -> u64 {
    u64::from(bytes.simd_eq(u8x16::splat(byte)).to_bitmask())
}

/// Register width of the processor.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registers {
    /// Available on every x86-64 processor.
    Bits128,
    /// AVX2, PCLMULQDQ, POPCNT, BMI1 and BMI2, which came to all processors together.
    Bits256,
    /// AVX-512 F and BW beside them.
    Bits512,
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Detects the features of the processor; the standard library caches them.
    pub(super) fn of_this_processor() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let is_256 =
            has!("avx2") && has!("pclmulqdq") && has!("popcnt") && has!("bmi1") && has!("bmi2");
        if is_256 && has!("avx512f") && has!("avx512bw") {
            Self::Bits512
        } else if is_256 {
            Self::Bits256
        } else {
            Self::Bits128
        }
    }
}

/// [`BlockMasks::of`] with all 64 bytes at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn masks_512(block: &[u8; 64]) -> BlockMasks {
    #[expect(unsafe_code, reason = "there is no safe load of 64 bytes")]
    // SAFETY: the pointer is to 64 readable bytes, and this load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let folded = _mm512_or_si512(bytes, _mm512_set1_epi8(FOLD.cast_signed()));
    BlockMasks {
        quote: equal_512(bytes, b'"'),
        open: equal_512(folded, b'{'),
        close: equal_512(folded, b'}'),
        rare: equal_512(bytes, b'\\') | equal_512(bytes, b'\n') != 0,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn equal_512(bytes: __m512i, byte: u8) -> u64 {
    _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()))
}

/// [`BlockMasks::of`] with 32 bytes at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn masks_256(block: &[u8; 64]) -> BlockMasks {
    let (lanes, _) = block.as_chunks::<32>();
    // Always two; the compiler knows this and removes the other branch.
    let [low, high] = lanes else {
        return BlockMasks::of(block);
    };
    let (low, high) = (load_256(low), load_256(high));
    let fold = _mm256_set1_epi8(FOLD.cast_signed());
    let folded = (_mm256_or_si256(low, fold), _mm256_or_si256(high, fold));
    // Which of the two it is, and where, is computed only for blocks that have one.
    let rare = _mm256_or_si256(rare_256(low), rare_256(high));
    BlockMasks {
        quote: equal_256((low, high), b'"'),
        open: equal_256(folded, b'{'),
        close: equal_256(folded, b'}'),
        rare: _mm256_testz_si256(rare, rare) == 0,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn load_256(bytes: &[u8; 32]) -> __m256i {
    #[expect(
        unsafe_code,
        reason = "the safe way, four words, compiles to ten instructions instead of one"
    )]
    // SAFETY: the pointer is to 32 readable bytes, and this load needs no alignment.
    unsafe {
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn equal_256((low, high): (__m256i, __m256i), byte: u8) -> u64 {
    let byte = _mm256_set1_epi8(byte.cast_signed());
    let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, byte)).cast_unsigned();
    let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, byte)).cast_unsigned();
    u64::from(low) | u64::from(high) << 32
}

/// Ones where there is a backslash or a line feed.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn rare_256(bytes: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\'.cast_signed())),
        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\n'.cast_signed())),
    )
}

/// [`prefix_xor`] as one carry-less multiplication.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "pclmulqdq")]
#[inline]
pub(super) fn prefix_xor_clmul(bits: u64) -> u64 {
    let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1), 0);
    _mm_cvtsi128_si64(product).cast_unsigned()
}

/// Each bit becomes the parity of itself and all lower ones: ones from an opening quote up to the
/// closing one.
pub(super) fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::{collection::vec, sample::select};

    proptest! {
        #[test]
        fn every_width_gives_the_same_masks(
            bytes in vec(select(b"\"\\\n{}[]a\x80;".to_vec()), 64),
            word in any::<u64>(),
        ) {
            let block: [u8; 64] = bytes.try_into().unwrap();
            let masks = BlockMasks::of(&block);
            let rare = RareMasks::of(&block);
            prop_assert_eq!(rare.backslash | rare.newline != 0, masks.rare);
            #[cfg(target_arch = "x86_64")]
            {
                #[expect(unsafe_code, reason = "the processor is checked before each")]
                let (wide, wider) = unsafe {
                    let has = Registers::of_this_processor();
                    let wide = (has != Registers::Bits128)
                        .then(|| (masks_256(&block), prefix_xor_clmul(word)));
                    let wider = (has == Registers::Bits512).then(|| masks_512(&block));
                    (wide, wider)
                };
                prop_assert!(wider.is_none_or(|wider| wider == masks));
                prop_assert!(wide.is_none_or(|wide| wide == (masks, prefix_xor(word))));
            }
        }
    }
}
