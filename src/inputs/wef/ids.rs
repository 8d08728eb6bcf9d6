//! Names that look like GUIDs, because hosts expect such: random ones for messages, and hashes for what must stay the same.

use aws_lc_rs::digest::{Context, SHA256};

/// A random one.
pub(super) fn random() -> String {
    shaped(fastrand::u128(..).to_be_bytes())
}

/// The same for the same parts, and else another one.
pub(super) fn of(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        // With its length, so that no two lists of parts look alike.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    shaped(bytes)
}

/// In capitals, as Windows writes them.
fn shaped(bytes: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032X}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_every_part_and_on_nothing_else() {
        let id = of(&["a", "bc"]);
        assert_eq!(id, of(&["a", "bc"]));
        for other in [&["ab", "c"][..], &["abc"], &["a", "bc", ""]] {
            assert_ne!(id, of(other), "{other:?}");
        }
        assert_eq!((id.len(), random().len()), (36, 36));
        assert_ne!(random(), random());
    }
}
