//! Words and numbers from a seed: text that compresses as real text does.
//!
//! Owns the generator; the same seed gives the same words on every machine.

/// How many words there are. English descriptions of packages use some thousands.
const WORDS: u64 = 6_000;
const SYLLABLES: [&str; 32] = [
    "ba", "co", "di", "en", "fo", "ga", "ha", "in", "jo", "ker", "lo", "ma", "ne", "or", "pa", "qu", "re",
    "sa", "te", "un", "va", "wi", "xe", "yo", "zi", "st", "tr", "al", "er", "on", "th", "ex",
];

/// Draws numbers and words: splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Words(u64);

impl Words {
    /// The generator of one thing: `number` in the world of `seed`.
    pub(crate) fn of(seed: u64, number: u64) -> Words {
        let mut words = Words(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        words.next();
        words
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One in `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of the words, some far more often than others, as in any language.
    pub(crate) fn word(&mut self) -> String {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        word((share.powi(3) * WORDS as f64) as u64)
    }

    /// Words up to about so many bytes, in lines.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        let (mut text, mut line) = (String::new(), 0);
        while text.len() < bytes {
            let word = self.word();
            line += word.len() + 1;
            text.push_str(&word);
            let breaks = line > 72;
            text.push(if breaks { '\n' } else { ' ' });
            line = if breaks { 0 } else { line };
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Word number `number`; frequent ones are short.
fn word(number: u64) -> String {
    let mut number = number + 1;
    let mut word = String::new();
    while number > 0 {
        word.push_str(SYLLABLES[(number % 32) as usize]);
        number /= 32;
    }
    word
}
