//! As much of DER as the messages of Kerberos and SPNEGO need: tags of one byte, definite lengths. Nothing is copied, and each
//! byte is looked at once for each level that it is nested in, of which the callers know how many there are.

/// The encoding is not what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not encoded as DER")]
pub(super) struct Malformed;

/// Elements that follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Over these bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left, as it stands.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(super) fn tag(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, whatever it is.
    ///
    /// # Errors
    ///
    /// When there is none, or it ends beyond the end.
    pub(super) fn any(&mut self) -> Result<Self, Malformed> {
        let [_, first, rest @ ..] = self.0 else { return Err(Malformed) };
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f)).ok_or(Malformed)?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(Self(content))
    }

    /// The content of the next element, which must have this tag.
    ///
    /// # Errors
    ///
    /// When it has another one, or is malformed.
    pub(super) fn take(&mut self, tag: u8) -> Result<Self, Malformed> {
        if self.tag() == Some(tag) { self.any() } else { Err(Malformed) }
    }

    /// The content of the next element if it has this tag.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub(super) fn take_if(&mut self, tag: u8) -> Result<Option<Self>, Malformed> {
        if self.tag() == Some(tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// The content of an element in an element, as explicit tags have it.
    ///
    /// # Errors
    ///
    /// When either has another tag, or is malformed.
    pub(super) fn take_in(&mut self, outer: u8, inner: u8) -> Result<Self, Malformed> {
        self.take(outer)?.take(inner)
    }

    /// A number in an explicit tag. Of one that is too large, the lowest bits.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(super) fn number_in(&mut self, outer: u8) -> Result<i64, Malformed> {
        let digits = self.take_in(outer, 0x02)?.bytes();
        let first = *digits.first().ok_or(Malformed)?;
        let start = if first & 0x80 == 0 { 0 } else { -1 };
        Ok(digits.iter().fold(start, |number: i64, digit| number << 8 | i64::from(*digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_and_whatever_ends_beyond_the_end_is_not() {
        let mut der = Der::new(&[0x30, 0x05, 0xa0, 0x03, 0x02, 0x01, 0xfe, 0x04, 0x81, 0x01, 7]);
        assert_eq!(der.take(0x30).expect("a sequence").number_in(0xa0), Ok(-2));
        assert_eq!(der.take(0x04).map(Der::bytes), Ok(&[7][..]));
        assert!(der.is_empty());
        for wrong in [&[][..], &[0x30], &[0x30, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x82, 1]]
        {
            assert_eq!(Der::new(wrong).any().map(Der::bytes), Err(Malformed), "{wrong:?}");
        }
        assert_eq!(Der::new(&[0x02, 0x01, 1]).take(0x30).map(Der::bytes), Err(Malformed));
        assert_eq!(Der::new(&[0xa0, 0x02, 0x02, 0x00]).number_in(0xa0), Err(Malformed));
    }
}
