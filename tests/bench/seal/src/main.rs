//! Encrypts COUNT records of 16 KiB as TLS does, or hashes them:
//! `seal aes-128-gcm|aes-256-gcm|chacha20-poly1305|sha-256 COUNT`.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};

/// The largest record of TLS (RFC 8446, section 5.1), in bytes.
const RECORD: usize = 16 * 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, count) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let count: u32 = count.parse().expect("how many records");
    let algorithm = match name.as_str() {
        "aes-128-gcm" => Some(&aead::AES_128_GCM),
        "aes-256-gcm" => Some(&aead::AES_256_GCM),
        "chacha20-poly1305" => Some(&aead::CHACHA20_POLY1305),
        "sha-256" => None,
        other => panic!("{other:?} is no algorithm"),
    };
    let mut record = vec![0_u8; RECORD];
    let key = algorithm.map(|algorithm| {
        LessSafeKey::new(UnboundKey::new(algorithm, &vec![7; algorithm.key_len()]).unwrap())
    });
    for number in 0..count {
        let Some(key) = &key else {
            let hash = digest(&SHA256, &record);
            record[..32].copy_from_slice(hash.as_ref());
            continue;
        };
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        // The additional data are the header of the record.
        let tag = key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([23, 3, 3, 64, 17]),
            &mut record,
        );
        record[0] ^= tag.unwrap().as_ref()[0];
    }
    // So that the compiler cannot leave the work out.
    println!("{}", record[0]);
}
