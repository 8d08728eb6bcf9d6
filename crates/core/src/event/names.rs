//! Names as people write them in a configuration, and the names of computers that events tell.
//!
//! One mechanism for everybody who compares the two: rules that ask for hosts, and identities that are bound to them.

/// The first label of a name with dots: the short name of a computer.
pub fn first_label(name: &str) -> &str {
    name.split_once('.').map_or(name, |(label, _)| label)
}

/// Whether a computer has this name; without a dot the name may be the first part of the computer's.
pub fn host_fits(pattern: &str, computer: &str) -> bool {
    fits(pattern, computer) || (!pattern.contains('.') && fits(pattern, first_label(computer)))
}

/// Whether a computer that tells only its short name can be the host that a pattern gives in full. A pattern for a whole domain
/// says nothing about short names: every name would fit.
pub fn short_name_fits(pattern: &str, computer: &str) -> bool {
    let label = first_label(pattern);
    !computer.contains('.') && label.bytes().any(|byte| byte != b'*') && fits(label, computer)
}

/// Whether a computer, which may tell only its short name, has this name. Nothing in the name stands for anything else, and a
/// name without a dot is that of no computer in a domain.
pub fn is_named(name: &str, computer: &str) -> bool {
    let is_short = !computer.contains('.');
    computer.eq_ignore_ascii_case(name) || (is_short && computer.eq_ignore_ascii_case(first_label(name)))
}

/// Whether a text is what a pattern says, without regard to ASCII letter case; `*` stands for any part. Linear in the
/// product of both lengths at worst, and both are short.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut pos) = (0, 0);
    // Where the last star stands, and how much it has taken so far.
    let mut star = None;
    while pos < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(&text[pos]) => {
                at += 1;
                pos += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    pos = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
