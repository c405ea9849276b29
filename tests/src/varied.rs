//! RPMs of every shape, made in memory from a seed: headers with true digests and a payload of noise.
//!
//! Owns the variety: what is in them that real packages have somewhere, and that a writer of indexes can get wrong.
//! Nothing here could be installed. Must never write a file.

use sha2::{Digest, Sha256};

/// Types of values in a header (`rpmtag.h`).
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;
const I18NSTRING: u32 = 9;
/// Tags that say which header a region belongs to.
const REGION_SIGNATURE: u32 = 62;
const REGION_HEADER: u32 = 63;
/// Names, flags and versions of each kind of dependency: provides, requires, conflicts, obsoletes,
/// recommends, suggests, supplements, enhances, and the old suggests and enhances.
const DEPENDENCIES: [[u32; 3]; 10] = [
    [1047, 1112, 1113],
    [1049, 1048, 1050],
    [1054, 1053, 1055],
    [1090, 1114, 1115],
    [5046, 5048, 5047],
    [5049, 5051, 5050],
    [5052, 5054, 5053],
    [5055, 5057, 5056],
    [1156, 1158, 1157],
    [1159, 1161, 1160],
];

/// Chance from a seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A value of a header.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its tag.
    pub tag: u32,
    /// Its type.
    pub kind: u32,
    /// How many elements.
    pub count: u32,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Everything of a package but its lead, its payload and its digests.
#[derive(Clone, Debug)]
pub struct Varied {
    /// What rpmbuild would call the file.
    pub file_name: String,
    /// The main header's values.
    pub values: Vec<Value>,
}

fn texts(tag: u32, kind: u32, all: &[Vec<u8>]) -> Value {
    let data = all.iter().flat_map(|text| [text, &[0][..]].concat()).collect();
    Value { tag, kind, count: all.len() as u32, data }
}

fn string(tag: u32, text: &[u8]) -> Value {
    texts(tag, STRING, &[text.to_vec()])
}

fn int32(tag: u32, all: &[u32]) -> Value {
    let data = all.iter().flat_map(|n| n.to_be_bytes()).collect();
    Value { tag, kind: INT32, count: all.len() as u32, data }
}

impl Varied {
    /// The package of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Varied {
        let chance = &mut Chance(seed);
        let (name, source) = (format!("varied{seed}"), chance.below(6) == 0);
        let name = if chance.below(8) == 0 { name + "-debuginfo" } else { name };
        let version = chance.pick(&["1", "2.0~rc1", "3.1^git5", "0.0+x"]);
        let release = chance.pick(&["1", "2.fc43", "0.1.el9_4"]);
        let built_for = chance.pick(&["noarch", "x86_64", "armv5tel"]);
        let mut values = vec![
            texts(100, STRING_ARRAY, &[b"C".to_vec()]),
            string(1000, name.as_bytes()),
            string(1001, version.as_bytes()),
            string(1002, release.as_bytes()),
            texts(1004, I18NSTRING, &[text(chance)]),
            texts(1005, I18NSTRING, &[[text(chance), b"\n\n".to_vec(), text(chance)].concat()]),
            string(1014, b"MIT and (GPL-2.0 or \"X\")"),
            string(1022, built_for.as_bytes()),
        ];
        if chance.below(3) > 0 {
            values.push(int32(1003, &[chance.below(4) as u32]));
        }
        for tag in [1007, 1011, 1015, 1020] {
            if chance.below(2) == 0 {
                values.push(string(tag, &text(chance)));
            }
        }
        if chance.below(2) == 0 {
            values.push(texts(1016, I18NSTRING, &[text(chance)]));
        }
        values.push(int32(1006, &[1_700_000_000 + seed as u32]));
        match chance.below(3) {
            0 => values.push(int32(1009, &[seed as u32 * 77])),
            1 => {
                let data = (seed + (7 << 32)).to_be_bytes().to_vec();
                values.push(Value { tag: 5009, kind: INT64, count: 1, data });
            }
            _ => {}
        }
        let arch = if source {
            values.push(int32(1106, &[1]));
            let nosource = chance.below(3) == 0;
            values.extend(nosource.then(|| int32(1051, &[0])));
            if nosource { "nosrc" } else { "src" }
        } else {
            values.push(string(1044, format!("varied-{version}-{release}.src.rpm").as_bytes()));
            built_for
        };
        let files = files(chance, source, &mut values);
        dependencies(chance, &files, &mut values);
        changelogs(chance, &mut values);
        Varied { file_name: format!("{name}-{version}-{release}.{arch}.rpm"), values }
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let payload = b"noise";
        let mut values = self.values.clone();
        let digest = hex(&Sha256::digest(payload));
        values.push(texts(5092, STRING_ARRAY, &[digest.into_bytes()]));
        values.push(int32(5093, &[8]));
        values.sort_by_key(|value| value.tag);
        let main = header(REGION_HEADER, &values);
        let size = (main.len() + payload.len()) as u32;
        let digest = hex(&Sha256::digest(&main));
        let signature = [string(273, digest.as_bytes()), int32(1000, &[size]), int32(1007, &[4711])];
        let mut all = vec![0; 96];
        all[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
        all[7] = u8::from(self.file_name.ends_with("src.rpm"));
        all[79] = 5;
        all.extend(header(REGION_SIGNATURE, &signature));
        all.resize(all.len().next_multiple_of(8), 0);
        all.extend(main);
        all.extend(payload);
        all
    }
}

fn header(region: u32, values: &[Value]) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    let entry = |tag: u32, kind: u32, offset: u32, count: u32| -> Vec<u8> {
        [tag, kind, offset, count].iter().flat_map(|n| n.to_be_bytes()).collect()
    };
    for value in values {
        let align = match value.kind {
            INT16 => 2,
            INT32 => 4,
            INT64 => 8,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(align), 0);
        index.extend(entry(value.tag, value.kind, store.len() as u32, value.count));
        store.extend(&value.data);
    }
    let first = entry(region, BIN, store.len() as u32, 16);
    index.splice(0..0, first);
    store.extend(entry(region, BIN, (index.len() as u32).wrapping_neg(), 16));
    let mut all = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    all.extend((index.len() as u32 / 16).to_be_bytes());
    all.extend((store.len() as u32).to_be_bytes());
    all.extend(index);
    all.extend(store);
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line as somebody may have typed it, in Latin-1 now and then.
fn text(chance: &mut Chance) -> Vec<u8> {
    let all: [&[u8]; 10] = [
        b"",
        b"plain words",
        b"a \"quoted\" 'word' <and> & more",
        "Žluťoučký kůň €".as_bytes(),
        "😀 beyond 16 bits".as_bytes(),
        b"M\xfcller in Latin-1 \x85\xa0",
        b"  spaces  ",
        b"tab\tand return\r\n",
        b"]]> &amp; &#10;",
        b"http://example.org/?a=1&b=2",
    ];
    chance.pick(&all).to_vec()
}

/// Adds files; gives their paths.
fn files(chance: &mut Chance, source: bool, values: &mut Vec<Value>) -> Vec<Vec<u8>> {
    let count = [0, 1, 3, 20, 200][chance.below(5)];
    let count = if chance.below(150) == 0 { 10_000 } else { count };
    if count == 0 {
        return Vec::new();
    }
    let names: [&[u8]; 8] = [
        b"plain",
        b"with space",
        b"a&b<c>\"d'",
        "žluť€😀".as_bytes(),
        b"latin\xe9",
        b"bin",
        b"",
        b"%{macro}",
    ];
    let directories: &[&[u8]] = match source {
        true => &[b""],
        false => &[b"/usr/bin/", b"/etc/x y/", b"/usr/lib/", b"/usr/share/d&<>/", b"/opt/sbin/x/", b"/"],
    };
    let (mut base, mut index, mut modes, mut flags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut paths = Vec::new();
    for n in 0..count {
        let at = chance.below(directories.len());
        let name = match chance.below(12) {
            0 => b"sendmail".to_vec(),
            _ => [chance.pick(&names), n.to_string().as_bytes()].concat(),
        };
        paths.push([directories[at], &name].concat());
        base.push(name);
        index.push(at as u32);
        let modes_of: [u16; 4] = [0o100_644, 0o040_755, 0o120_777, 0o020_666];
        modes.extend(modes_of[chance.below(4)].to_be_bytes());
        flags.push([0, 1, 1 << 6, 1 << 6 | 1][chance.below(4)]);
    }
    let directories: Vec<Vec<u8>> = directories.iter().map(|text| text.to_vec()).collect();
    values.extend([
        Value { tag: 1030, kind: INT16, count: count as u32, data: modes },
        int32(1037, &flags),
        int32(1116, &index),
        texts(1117, STRING_ARRAY, &base),
        texts(1118, STRING_ARRAY, &directories),
    ]);
    if base.len() < directories.len() {
        // rpmbuild names only directories in which there is something.
        let used: Vec<Vec<u8>> = index.iter().map(|&at| directories[at as usize].clone()).collect();
        values.truncate(values.len() - 3);
        values.push(int32(1116, &(0..base.len() as u32).collect::<Vec<_>>()));
        values.push(texts(1117, STRING_ARRAY, &base));
        values.push(texts(1118, STRING_ARRAY, &used));
    }
    paths
}

fn dependencies(chance: &mut Chance, files: &[Vec<u8>], values: &mut Vec<Value>) {
    let names: [&[u8]; 16] = [
        b"glibc",
        b"perl(A::B)",
        b"(a or b)",
        b"((a with b >= 2) if c)",
        "ünicode".as_bytes(),
        b"/usr/bin/sh",
        b"/etc/x y/other",
        b"pkgconfig(x) & <y>",
        b"libc.so.6",
        b"libc.so.6()(64bit)",
        b"libc.so.6(GLIBC_2.2.5)(64bit)",
        b"libc.so.6(GLIBC_2.38)(64bit)",
        b"libc.so.6(GLIBC_ABI_DT_RELR)(64bit)",
        b"libm.so.6(GLIBC_2.2.5)(64bit)",
        b"rpmlib(PayloadIsZstd)",
        b"config(x)",
    ];
    let versions: [&[u8]; 12] = [
        b"",
        b"1",
        b"1-2",
        b"2:1-2",
        b":1-1",
        b"x:1",
        b"1:",
        b"1-2-3",
        b"-",
        b"+3:1",
        b"1.0~rc^1-1.fc43",
        b"0:0",
    ];
    // Comparisons, PREREQ, SCRIPT_PRE, _POST, _PREUN, _POSTUN, FIND_REQUIRES, MISSINGOK, RPMLIB, STRONG, META.
    let bits = [6, 9, 10, 11, 12, 14, 19, 24, 27, 29];
    for tags in DEPENDENCIES {
        let count = [0, 0, 1, 4, 30][chance.below(5)];
        if count == 0 {
            continue;
        }
        let (mut name, mut flag, mut version): (Vec<Vec<u8>>, Vec<u32>, Vec<Vec<u8>>) = Default::default();
        for n in 0..count {
            match chance.below(10) {
                // The same again, or its name again.
                0 if n > 0 => {
                    let other = chance.below(n);
                    name.push(name[other].clone());
                    flag.push(flag[other]);
                    version.push(version[other].clone());
                    continue;
                }
                1 if n > 0 => name.push(name[chance.below(n)].clone()),
                2 if files.iter().any(|path| path.is_ascii()) => {
                    let ascii: Vec<&Vec<u8>> = files.iter().filter(|path| path.is_ascii()).collect();
                    name.push(ascii[chance.below(ascii.len())].clone());
                }
                _ => name.push(chance.pick(&names).to_vec()),
            }
            let mut sense = [0, 0, 2, 4, 8, 8, 10, 12, 6][chance.below(9)];
            if chance.below(3) == 0 {
                sense |= 1 << bits[chance.below(bits.len())];
            }
            flag.push(sense);
            version.push(chance.pick(&versions).to_vec());
        }
        values.extend([
            texts(tags[0], STRING_ARRAY, &name),
            int32(tags[1], &flag),
            texts(tags[2], STRING_ARRAY, &version),
        ]);
    }
    if chance.below(4) == 0 {
        // Triggers are in no index.
        values.extend([
            texts(1065, STRING_ARRAY, &[b"echo".to_vec()]),
            texts(1066, STRING_ARRAY, &[b"glibc".to_vec()]),
            texts(1067, STRING_ARRAY, &[b"".to_vec()]),
            int32(1068, &[1 << 16]),
            int32(1069, &[0]),
            texts(1092, STRING_ARRAY, &[b"/bin/sh".to_vec()]),
        ]);
    }
}

fn changelogs(chance: &mut Chance, values: &mut Vec<Value>) {
    let count = [0, 1, 3, 10, 25][chance.below(5)];
    if count == 0 {
        return;
    }
    let mut time = 1_700_000_000;
    let (mut times, mut authors, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..count {
        // Days repeat, and some are out of order or after 2038.
        time = [time, time, time - 86400, time + 1, 3_000_000_000][chance.below(5)];
        times.push(time);
        let author = [b"Some <one@example.org> - 1:", n.to_string().as_bytes(), &text(chance)].concat();
        authors.push(author);
        entries.push([b"- ", &*text(chance), b"\n- ", &*text(chance)].concat());
    }
    values.extend([
        int32(1080, &times),
        texts(1081, STRING_ARRAY, &authors),
        texts(1082, STRING_ARRAY, &entries),
    ]);
}
