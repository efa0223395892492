//! Reads the test vectors of RFCs, as the tests of the protocol modules hold them.

/// Bytes of hexadecimal digits; whatever else stands between them is passed over.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
