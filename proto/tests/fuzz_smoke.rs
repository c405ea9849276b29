//! The fuzz targets' bodies over a seeded corpus, on the stable toolchain.
//!
//! Owns how cases are made: from the golden bytes and nothing, by random changes. The seed is fixed,
//! so that a failure comes again; the failing case is printed.

#[allow(dead_code)] // Some of it is for single targets.
#[path = "../../tests/fuzz/targets/wire.rs"]
mod bodies;

/// Cases a target.
const CASES: u32 = 20_000;

/// xorshift64*: enough to spread cases, and the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// A byte of the kinds that matter in varints and lengths.
    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            _ => (self.next() >> 32) as u8,
        }
    }
}

/// Runs `body` and names the case that it does not survive.
fn run(number: u32, case: &[u8], body: fn(&[u8])) {
    if let Err(panic) = std::panic::catch_unwind(|| body(case)) {
        let hex: String = case.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("case {number}: {hex}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn changed_messages_decode_to_the_same_or_not_at_all() {
    let unhex = |hex: &str| -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("golden bytes are hex");
        (0..hex.len()).step_by(2).map(pair).collect()
    };
    let seeds: Vec<Vec<u8>> = include_str!("../src/message/golden.txt")
        .lines()
        .map(|line| unhex(line.split_once(' ').expect("a name, then bytes").1))
        .collect();
    let mut rng = Rng(0x6d6f_6a69_0001);
    for number in 0..CASES {
        let mut case = match rng.below(8) {
            0 => {
                let count = rng.below(100);
                rng.bytes(count)
            }
            _ => seeds[rng.below(seeds.len())].clone(),
        };
        for _ in 0..rng.below(4) {
            let at = rng.below(case.len() + 1);
            match rng.below(4) {
                0 => case.truncate(at),
                1 => case.insert(at, rng.byte()),
                _ if at < case.len() => case[at] = rng.byte(),
                _ => case.push(rng.byte()),
            }
        }
        run(number, &case, bodies::decode);
    }
}

#[test]
fn changed_handshakes_and_records_open_nothing() {
    let mut rng = Rng(0x6d6f_6a69_0002);
    for number in 0..CASES {
        // Most cases come from strangers, who cost little time.
        let stage = if rng.below(6) == 0 { 2 + rng.below(5) } else { rng.below(2) } as u8;
        let piece = [0, 1, 2, 16, 63, 64, 255][rng.below(7)];
        let mut case = vec![stage, piece];
        match (stage, rng.below(4)) {
            // A good beginning of what a stranger says.
            (0, 0) => case.extend_from_slice(b"moji\0\x01\0\x01\0\x01\0\0\0\0\0\0"),
            (0, 1) => case.extend_from_slice(b"moji\0"),
            (1, 0) => case.extend_from_slice(&[0, 0]),
            _ => {}
        }
        let count = if stage < 2 { rng.below(200) } else { 4 * rng.below(4) };
        for _ in 0..count {
            case.push(rng.byte());
        }
        run(number, &case, bodies::handshake);
    }
}
