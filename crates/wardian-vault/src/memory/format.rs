//! The head of a memory file as bytes: encoding, and decoding of what may be anything. The layout is in the module's
//! documentation; reading files is left to `read`.

/// Begins every memory file.
pub(super) const MAGIC: [u8; 8] = *b"\x89WMEM\r\n\x1a";
/// The version that is written, and the last that is read.
pub(super) const VERSION: u32 = 1;
/// Bytes before the facts.
pub(super) const HEAD: usize = 112;
/// Bytes before each extent's memory.
pub(super) const EXTENT: usize = 16;
/// The facts are a few hundred bytes; this leaves room and bounds what a reader allocates.
pub(super) const FACTS_LIMIT: usize = 64 << 10;
/// More memory than QEMU gives a machine, in bytes; sums of lengths below it cannot overflow.
pub(super) const MEMORY_LIMIT: u64 = 16 << 40;
/// A device state is about 100 kB, with the memory of displays some tens of MiB.
pub(super) const STATE_LIMIT: u64 = 4 << 30;

/// The hash that covers state and extents.
pub(super) fn body_hasher() -> blake3::Hasher {
    blake3::Hasher::new_derive_key("wardian memory body 1")
}

/// The lengths and the body's checksum: what the head has beside the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) facts: usize,
    pub(super) state: u64,
    pub(super) extents: u64,
    pub(super) data: u64,
    pub(super) body: [u8; 32],
}

/// Why some bytes are no head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Not the magic.
    NotMemory,
    /// A version that is not known yet.
    Newer(u32),
    /// No writer makes such a head.
    Damaged,
}

impl Head {
    /// The head's bytes, with the checksum over it and the facts.
    pub(super) fn encode(&self, facts: &[u8]) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(!VERSION).to_le_bytes());
        // Bounded by FACTS_LIMIT.
        bytes[16..20].copy_from_slice(&(self.facts as u32).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.state.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.extents.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.data.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.body);
        let checksum = checksum(&bytes, facts);
        bytes[80..].copy_from_slice(&checksum);
        bytes
    }

    /// The lengths in `bytes`, which are plausible but not proven: `is_sound` tells, once the facts are read.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Result<Self, HeadError> {
        if bytes[..8] != MAGIC {
            return Err(HeadError::NotMemory);
        }
        let version = u32::from_le_bytes(array(&bytes[8..12]));
        if u32::from_le_bytes(array(&bytes[12..16])) != !version || version == 0 {
            return Err(HeadError::Damaged);
        }
        if version > VERSION {
            return Err(HeadError::Newer(version));
        }
        let head = Self {
            facts: u32::from_le_bytes(array(&bytes[16..20])) as usize,
            state: u64::from_le_bytes(array(&bytes[24..32])),
            extents: u64::from_le_bytes(array(&bytes[32..40])),
            data: u64::from_le_bytes(array(&bytes[40..48])),
            body: array(&bytes[48..80]),
        };
        let plausible = bytes[20..24] == [0; 4]
            && head.facts <= FACTS_LIMIT
            && head.state <= STATE_LIMIT
            && head.data <= MEMORY_LIMIT
            // Extents are not empty.
            && head.extents <= head.data;
        if plausible { Ok(head) } else { Err(HeadError::Damaged) }
    }

    /// Whether head and facts are what was written.
    pub(super) fn is_sound(bytes: &[u8; HEAD], facts: &[u8]) -> bool {
        bytes[80..] == checksum(bytes, facts)
    }

    /// Bytes of the body: state and extents. Cannot overflow: all parts are bounded.
    pub(super) fn body_length(&self) -> u64 {
        self.state + self.extents * EXTENT as u64 + self.data
    }

    /// Bytes of the whole file.
    pub(super) fn file_length(&self) -> u64 {
        HEAD as u64 + self.facts as u64 + self.body_length()
    }
}

fn checksum(head: &[u8; HEAD], facts: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("wardian memory head 1");
    hasher.update(&head[..80]).update(facts);
    *hasher.finalize().as_bytes()
}

/// The bytes as an array; the callers' ranges have its length.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heads() -> impl Strategy<Value = Head> {
        (0..=FACTS_LIMIT, 0..=STATE_LIMIT, 0..=MEMORY_LIMIT, any::<[u8; 32]>()).prop_flat_map(
            |(facts, state, data, body)| (0..=data).prop_map(move |extents| Head { facts, state, extents, data, body }),
        )
    }

    proptest! {
        #[test]
        fn a_head_reads_back_as_itself(head in heads(), facts: Vec<u8>) {
            let bytes = head.encode(&facts);
            prop_assert_eq!(Head::decode(&bytes), Ok(head));
            prop_assert!(Head::is_sound(&bytes, &facts));
        }

        #[test]
        fn a_flipped_bit_in_a_head_is_never_sound_nor_a_newer_version(head in heads(), at in 0..HEAD * 8) {
            let mut bytes = head.encode(b"{}");
            bytes[at / 8] ^= 1 << (at % 8);
            match Head::decode(&bytes) {
                Ok(_) => { let sound = Head::is_sound(&bytes, b"{}"); prop_assert!(!sound) }
                Err(HeadError::NotMemory) => prop_assert!(at < 64),
                Err(error) => prop_assert_eq!(error, HeadError::Damaged),
            }
        }
    }

    #[test]
    fn lengths_at_their_limits_do_not_overflow() {
        let head =
            Head { facts: FACTS_LIMIT, state: STATE_LIMIT, extents: MEMORY_LIMIT, data: MEMORY_LIMIT, body: [0; 32] };
        assert!(head.file_length() > MEMORY_LIMIT);
    }
}
