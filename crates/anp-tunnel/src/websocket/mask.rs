//! Masking (RFC 6455 section 5.3).

/// XORs `data` with `key`, whose first byte meets the byte at `offset` of the payload.
pub(super) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset & 3);
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_mask_as_the_whole_does() {
        let key = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain
            .iter()
            .enumerate()
            .map(|(i, b)| b ^ key[i % 4])
            .collect();
        for split in 0..plain.len() {
            let mut masked = plain.clone();
            let (head, tail) = masked.split_at_mut(split);
            apply(head, key, 0);
            apply(tail, key, split);
            assert_eq!(masked, expected, "split at {split}");
        }
    }
}
