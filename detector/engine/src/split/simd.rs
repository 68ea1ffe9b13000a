//! 64 bytes at a time to bit masks, with the widest registers there are: the portable way, AVX2, and AVX-512.
//!
//! The wider ways are functions for processors that have them; [`Registers`] says which this one is. All give the same masks.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_testz_si256, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_or_si512,
    _mm512_set1_epi8,
};

use wide::u8x16;

/// One bit a byte of a block, lowest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masks {
    /// Quotes.
    pub(super) quote: u64,
    /// Opening braces and brackets.
    pub(super) open: u64,
    /// Closing ones.
    pub(super) close: u64,
    /// Whether there are backslashes or line breaks.
    pub(super) rare: bool,
}

/// One bit a byte of a block, for what most blocks do not have.
pub(super) struct Rare {
    /// Backslashes.
    pub(super) backslash: u64,
    /// Line feeds.
    pub(super) newline: u64,
}

// Brackets and braces differ by one bit: `[` | 0x20 is `{`, `]` | 0x20 is `}`.
const FOLD: u8 = 0x20;

impl Masks {
    pub(super) fn of(block: &[u8; 64]) -> Self {
        let mut masks = Self {
            quote: 0,
            open: 0,
            close: 0,
            rare: false,
        };
        let mut rare = u8x16::splat(0);
        let (lanes, _) = block.as_chunks::<16>();
        for (index, lane) in lanes.iter().enumerate() {
            let bytes = u8x16::new(*lane);
            let shift = index * 16;
            let folded = bytes | u8x16::splat(FOLD);
            masks.quote |= bits(bytes.simd_eq(u8x16::splat(b'"'))) << shift;
            masks.open |= bits(folded.simd_eq(u8x16::splat(b'{'))) << shift;
            masks.close |= bits(folded.simd_eq(u8x16::splat(b'}'))) << shift;
            rare |= bytes.simd_eq(u8x16::splat(b'\\')) | bytes.simd_eq(u8x16::splat(b'\n'));
        }
        masks.rare = bits(rare) != 0;
        masks
    }
}

impl Rare {
    pub(super) fn of(block: &[u8; 64]) -> Self {
        let mut rare = Self {
            backslash: 0,
            newline: 0,
        };
        let (lanes, _) = block.as_chunks::<16>();
        for (index, lane) in lanes.iter().enumerate() {
            let bytes = u8x16::new(*lane);
            rare.backslash |= bits(bytes.simd_eq(u8x16::splat(b'\\'))) << (index * 16);
            rare.newline |= bits(bytes.simd_eq(u8x16::splat(b'\n'))) << (index * 16);
        }
        rare
    }
}

/// What the processor can do.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registers {
    /// Whatever every x86-64 processor has.
    Bits128,
    /// AVX2 and POPCNT.
    Bits256,
    /// AVX-512 F and BW, PCLMULQDQ, POPCNT and BMI1.
    Bits512,
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    /// Asks the processor; the answer is remembered by the standard library.
    pub(super) fn of_this_processor() -> Self {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f")
            && has!("avx512bw")
            && has!("pclmulqdq")
            && has!("popcnt")
            && has!("bmi1")
        {
            Self::Bits512
        } else if has!("avx2") && has!("popcnt") {
            Self::Bits256
        } else {
            Self::Bits128
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn masks_512(block: &[u8; 64]) -> Masks {
    #[expect(unsafe_code, reason = "there is no safe load of 64 bytes")]
    // SAFETY: the pointer is to 64 readable bytes, and this load asks for no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let equal =
        |bytes, byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
    let folded = _mm512_or_si512(bytes, _mm512_set1_epi8(FOLD.cast_signed()));
    Masks {
        quote: equal(bytes, b'"'),
        open: equal(folded, b'{'),
        close: equal(folded, b'}'),
        rare: equal(bytes, b'\\') | equal(bytes, b'\n') != 0,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn masks_256(block: &[u8; 64]) -> Masks {
    let (lanes, _) = block.as_chunks::<32>();
    let [low, high] = lanes else {
        return Masks::of(block);
    };
    let load = |bytes: &[u8; 32]| {
        #[expect(
            unsafe_code,
            reason = "the safe way, four words, compiles to ten instructions instead of one"
        )]
        // SAFETY: the pointer is to 32 readable bytes, and this load asks for no alignment.
        unsafe {
            _mm256_loadu_si256(bytes.as_ptr().cast())
        }
    };
    let equal = |bytes, byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
    let bits = |low: __m256i, high: __m256i| {
        let word = |lane| u64::from(_mm256_movemask_epi8(lane).cast_unsigned());
        word(low) | word(high) << 32
    };
    let (low, high) = (load(low), load(high));
    let fold = _mm256_set1_epi8(FOLD.cast_signed());
    let (low_folded, high_folded) = (_mm256_or_si256(low, fold), _mm256_or_si256(high, fold));
    let escapes = _mm256_or_si256(equal(low, b'\\'), equal(high, b'\\'));
    let breaks = _mm256_or_si256(equal(low, b'\n'), equal(high, b'\n'));
    let rare = _mm256_or_si256(escapes, breaks);
    Masks {
        quote: bits(equal(low, b'"'), equal(high, b'"')),
        open: bits(equal(low_folded, b'{'), equal(high_folded, b'{')),
        close: bits(equal(low_folded, b'}'), equal(high_folded, b'}')),
        rare: _mm256_testz_si256(rare, rare) == 0,
    }
}

/// [`prefix_xor`] as one multiplication without carries.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "pclmulqdq")]
#[inline]
pub(super) fn prefix_xor_clmul(bits: u64) -> u64 {
    let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1), 0);
    _mm_cvtsi128_si64(product).cast_unsigned()
}

fn bits(lane: u8x16) -> u64 {
    u64::from(lane.to_bitmask())
}

/// Each bit becomes the parity of itself and all lower ones: ones between an opening and a closing quote.
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

    proptest! {
        #[test]
        fn every_width_gives_the_same_masks(bytes in proptest::collection::vec(proptest::sample::select(b"\"\\\n{}[]a\x80;".to_vec()), 64), word in any::<u64>()) {
            let block: [u8; 64] = bytes.try_into().unwrap();
            let masks = Masks::of(&block);
            let rare = Rare::of(&block);
            prop_assert_eq!(rare.backslash | rare.newline != 0, masks.rare);
            #[cfg(target_arch = "x86_64")]
            {
                #[expect(unsafe_code, reason = "the processor is asked before each")]
                let (wide, wider) = unsafe {
                    let has = Registers::of_this_processor();
                    let wide = (has != Registers::Bits128).then(|| masks_256(&block));
                    (wide, (has == Registers::Bits512).then(|| (masks_512(&block), prefix_xor_clmul(word))))
                };
                prop_assert!(wide.is_none_or(|wide| wide == masks));
                prop_assert!(wider.is_none_or(|wider| wider == (masks, prefix_xor(word))));
            }
        }
    }
}
