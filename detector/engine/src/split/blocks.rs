//! Finds the brackets outside strings in blocks of 64 bytes.
//!
//! Most of a record is nested deep inside it, where only the depth changes. So brackets are only
//! counted, in four blocks at a time; they are examined one by one only where something may begin
//! or end.

#[cfg(target_arch = "x86_64")]
use super::simd::{self, Registers};
use super::{
    EnvelopePlace, RecordSplitter, SplitWalk,
    simd::{BlockMasks, RareMasks, prefix_xor},
};

/// Number of blocks that are processed together.
const GROUP: usize = 4;

/// The two steps that differ by the width of registers.
#[derive(Clone, Copy)]
struct SimdSteps<M, P> {
    masks: M,
    prefix_xor: P,
}

/// Brackets and braces of a block outside strings; one bit per byte.
#[derive(Debug, Clone, Copy, Default)]
struct BracketMasks {
    opens: u64,
    closes: u64,
}

/// The effect of a group of blocks.
struct BlockSurvey {
    brackets: [BracketMasks; GROUP],
    /// Whether a string is open after them.
    in_string: bool,
    /// Depth after them.
    depth: isize,
    /// Lower bound of the depth in them. Below zero where brackets do not match.
    lowest: isize,
    /// Whether they have backslashes or line breaks; the other fields are then unreliable.
    rare: bool,
}

impl RecordSplitter {
    /// Processes every block of 64 bytes, with the widest registers of this processor.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "measured: see the commit")
    )]
    pub(super) fn whole_blocks(&mut self, blocks: &[[u8; 64]], walk: &mut SplitWalk<'_>) {
        #[cfg(target_arch = "x86_64")]
        match Registers::of_this_processor() {
            // SAFETY: the check above has just found the features that the function needs.
            Registers::Bits512 => return unsafe { self.blocks_512(blocks, walk) },
            // SAFETY: as above.
            Registers::Bits256 => return unsafe { self.blocks_256(blocks, walk) },
            Registers::Bits128 => {}
        }
        let steps = SimdSteps {
            masks: BlockMasks::of,
            prefix_xor,
        };
        self.blocks(blocks, walk, steps);
    }

    /// Processes the bytes after the last whole block.
    pub(super) fn last_block(&mut self, rest: &[u8], walk: &mut SplitWalk<'_>) {
        // Spaces have no meaning anywhere, so they can fill the block.
        let mut block = [b' '; 64];
        if let Some(space) = block.get_mut(..rest.len()) {
            space.copy_from_slice(rest);
        }
        let escape_next = self.escape_next;
        let steps = SimdSteps {
            masks: BlockMasks::of,
            prefix_xor,
        };
        self.block(&BlockMasks::of(&block), &block, walk, steps);
        // The padding must not consume an escape that belongs to the next piece.
        self.escape_next = ends_in_escape(rest, escape_next);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,pclmulqdq,popcnt,bmi1,bmi2")]
    fn blocks_512(&mut self, blocks: &[[u8; 64]], walk: &mut SplitWalk<'_>) {
        // Functions with target features do not implement `Fn`. A closure has the features of the
        // function that contains it.
        let steps = SimdSteps {
            masks: |block: &[u8; 64]| simd::masks_512(block),
            prefix_xor: |bits| simd::prefix_xor_clmul(bits),
        };
        self.blocks(blocks, walk, steps);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,pclmulqdq,popcnt,bmi1,bmi2")]
    fn blocks_256(&mut self, blocks: &[[u8; 64]], walk: &mut SplitWalk<'_>) {
        let steps = SimdSteps {
            masks: |block: &[u8; 64]| simd::masks_256(block),
            prefix_xor: |bits| simd::prefix_xor_clmul(bits),
        };
        self.blocks(blocks, walk, steps);
    }

    // Always inlined, like everything below it down to the single bracket: the compiler uses wide
    // registers only inside a function that names their features.
    #[inline(always)]
    fn blocks(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut SplitWalk<'_>,
        steps: SimdSteps<impl Fn(&[u8; 64]) -> BlockMasks + Copy, impl Fn(u64) -> u64 + Copy>,
    ) {
        let (groups, rest) = blocks.as_chunks::<GROUP>();
        for group in groups {
            self.group(group, walk, steps);
        }
        self.one_by_one(rest, walk, steps);
    }

    #[inline(always)]
    fn one_by_one(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut SplitWalk<'_>,
        steps: SimdSteps<impl Fn(&[u8; 64]) -> BlockMasks + Copy, impl Fn(u64) -> u64 + Copy>,
    ) {
        for block in blocks {
            self.block(&(steps.masks)(block), block, walk, steps);
            walk.block += 64;
        }
    }

    /// Processes several blocks without a branch between them: in most, only the depth changes, and
    /// without a branch to predict at every block this is twice as fast.
    #[inline(always)]
    fn group(
        &mut self,
        group: &[[u8; 64]; GROUP],
        walk: &mut SplitWalk<'_>,
        steps: SimdSteps<impl Fn(&[u8; 64]) -> BlockMasks + Copy, impl Fn(u64) -> u64 + Copy>,
    ) {
        let survey = self.survey(group, steps);
        if survey.rare {
            return self.one_by_one(group, walk, steps);
        }
        self.in_string = survey.in_string;
        if self.place == EnvelopePlace::Unit && survey.lowest >= self.deep().cast_signed() {
            self.depth = survey.depth.cast_unsigned();
            walk.block += 64 * GROUP;
            return;
        }
        for brackets in survey.brackets {
            self.brackets(brackets, walk);
            walk.block += 64;
        }
    }

    #[inline(always)]
    fn survey(
        &self,
        group: &[[u8; 64]; GROUP],
        steps: SimdSteps<impl Fn(&[u8; 64]) -> BlockMasks, impl Fn(u64) -> u64>,
    ) -> BlockSurvey {
        // Assembled at the end: counting in its fields takes a twentieth more instructions.
        let mut all = [BracketMasks::default(); GROUP];
        let (mut depth, mut lowest) = (self.depth.cast_signed(), isize::MAX);
        // An escape from the block before changes what the first quote means, as a backslash here
        // does.
        let (mut in_string, mut rare) = (self.in_string, self.escape_next);
        for (block, brackets) in group.iter().zip(&mut all) {
            let masks = (steps.masks)(block);
            rare |= masks.rare;
            let strings = (steps.prefix_xor)(masks.quote) ^ all_if(in_string);
            in_string = strings >> 63 == 1;
            *brackets = BracketMasks::outside(strings, &masks);
            // Assume that all closing brackets of a block precede all opening ones: the worst case.
            depth -= brackets.closed().cast_signed();
            lowest = lowest.min(depth);
            depth += brackets.opened().cast_signed();
        }
        BlockSurvey {
            brackets: all,
            in_string,
            depth,
            lowest,
            rare,
        }
    }

    #[inline(always)]
    fn block(
        &mut self,
        masks: &BlockMasks,
        block: &[u8; 64],
        walk: &mut SplitWalk<'_>,
        steps: SimdSteps<impl Fn(&[u8; 64]) -> BlockMasks, impl Fn(u64) -> u64>,
    ) {
        if masks.rare || self.escape_next {
            return self.rare_block(masks, &RareMasks::of(block), walk);
        }
        let strings = (steps.prefix_xor)(masks.quote) ^ all_if(self.in_string);
        self.in_string = strings >> 63 == 1;
        self.brackets(BracketMasks::outside(strings, masks), walk);
    }

    /// Processes the brackets of a block, one by one where something may begin or end.
    #[inline(always)]
    fn brackets(&mut self, brackets: BracketMasks, walk: &mut SplitWalk<'_>) {
        if self.is_deep(brackets) {
            return self.pass_over(brackets);
        }
        let BracketMasks { opens, closes } = brackets;
        let mut bits = opens | closes;
        let mut deep = self.deep();
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            // Deep inside a unit, only the depth changes.
            if self.place == EnvelopePlace::Unit && self.depth > deep {
                // Without a branch: which of the two comes next cannot be predicted.
                self.depth = self.depth + 2 * usize::from(opens & bit != 0) - 1;
            } else {
                self.event(walk.block + bit.trailing_zeros() as usize, walk);
                deep = self.deep();
            }
        }
    }

    /// Processes a block with backslashes or line breaks.
    ///
    /// CloudTrail's own files have few: a record has a backslash where it quotes a policy or
    /// another document, and no line breaks. Pretty-printed samples consist of such blocks.
    // Not inlined, so that it takes no registers from the common blocks.
    #[inline(never)]
    fn rare_block(&mut self, masks: &BlockMasks, rare: &RareMasks, walk: &mut SplitWalk<'_>) {
        let escaped = self.escaped(rare.backslash);
        let strings = prefix_xor(masks.quote & !escaped) ^ all_if(self.in_string);
        if rare.newline & strings != 0 {
            return self.broken_string(masks, rare, escaped, walk);
        }
        self.in_string = strings >> 63 == 1;
        let brackets = BracketMasks::outside(strings, masks);
        if rare.newline == 0 && self.is_deep(brackets) {
            self.pass_over(brackets);
        } else {
            self.events(brackets.opens | brackets.closes | rare.newline, walk);
        }
    }

    /// Whether only the depth can change in a block.
    #[inline(always)]
    fn is_deep(&self, brackets: BracketMasks) -> bool {
        self.place == EnvelopePlace::Unit && self.depth >= self.deep() + brackets.closed()
    }

    /// The depth down to which a closing bracket in a unit does not matter: no unit ends, its first
    /// object does not end, and no list of records begins, as it may at depth 1 or 2 of a top-level
    /// object.
    #[inline(always)]
    fn deep(&self) -> usize {
        match self.base {
            // The hits of a search response are a list at depth 2.
            0 => 3,
            base => base + 1 + usize::from(self.after_first == 0),
        }
    }

    #[inline(always)]
    fn pass_over(&mut self, brackets: BracketMasks) {
        self.depth = (self.depth + brackets.opened()).saturating_sub(brackets.closed());
    }

    fn events(&mut self, mut bits: u64, walk: &mut SplitWalk<'_>) {
        while bits != 0 {
            let at = walk.block + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.event(at, walk);
        }
    }

    /// Processes a block with a raw line break inside a string, which JSON forbids: either the line
    /// was truncated there, and the string ends with it, or it is an odd byte in a value.
    fn broken_string(
        &mut self,
        masks: &BlockMasks,
        rare: &RareMasks,
        escaped: u64,
        walk: &mut SplitWalk<'_>,
    ) {
        // After the break the masks for strings are wrong, so each byte is examined.
        for bit in 0..64 {
            let here = 1_u64 << bit;
            if masks.quote & !escaped & here != 0 {
                self.in_string = !self.in_string;
            } else if rare.newline & here != 0 {
                if self.in_string && self.string_goes_on(walk.block + bit, walk) {
                    continue;
                }
                self.string_is_cut = std::mem::take(&mut self.in_string);
                let rest = walk.bytes.get(walk.block + bit..).unwrap_or_default();
                self.ends_in_string = self.string_is_cut && rest.trim_ascii().is_empty();
                self.event(walk.block + bit, walk);
                self.string_is_cut = false;
            } else if (masks.open | masks.close) & here != 0 && !self.in_string {
                self.event(walk.block + bit, walk);
            }
        }
    }

    /// Which bytes of the block follow an odd run of backslashes.
    fn escaped(&mut self, backslash: u64) -> u64 {
        let mut escaped = u64::from(self.escape_next);
        self.escape_next = false;
        let mut bits = backslash;
        while bits != 0 {
            let at = bits.trailing_zeros();
            bits &= bits - 1;
            // An escaped backslash escapes nothing.
            if escaped >> at & 1 == 0 {
                if at == 63 {
                    self.escape_next = true;
                } else {
                    escaped |= 1 << (at + 1);
                }
            }
        }
        escaped
    }
}

impl BracketMasks {
    #[inline(always)]
    fn outside(strings: u64, masks: &BlockMasks) -> Self {
        Self {
            opens: masks.open & !strings,
            closes: masks.close & !strings,
        }
    }

    #[inline(always)]
    fn opened(self) -> usize {
        self.opens.count_ones() as usize
    }

    #[inline(always)]
    fn closed(self) -> usize {
        self.closes.count_ones() as usize
    }
}

/// A string that is open at the start of a block inverts the mask of strings in it.
#[inline(always)]
fn all_if(in_string: bool) -> u64 {
    if in_string { u64::MAX } else { 0 }
}

/// Whether the byte after these is escaped; `escape_before` is the same for their first one.
fn ends_in_escape(bytes: &[u8], escape_before: bool) -> bool {
    let run = bytes.iter().rev().take_while(|b| **b == b'\\').count();
    if run == bytes.len() && escape_before {
        run % 2 == 0
    } else {
        run % 2 == 1
    }
}
