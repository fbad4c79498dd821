//! Texts and certificates of any bytes: none is taken, and none ends the process. Also the pinned root.

use super::{SigningChain, now, payload};
use crate::stores::apple::chain::Chains;
use crate::stores::apple::jws::{JwsRefusal, verify};
use crate::stores::apple::root::APPLE_ROOT_G3;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// Number of altered certificates.
const ALTERATIONS: u32 = 3_000;
/// The distance between two replaced characters of a text.
const STEP: usize = 5;

/// A generator of pseudo-random numbers (xorshift), so that a failure repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound.max(1)).expect("a bound");
        usize::try_from((self.0 >> 11) % bound).expect("a number")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    /// Changes, removes or inserts a byte, or cuts the rest off.
    fn alter(&mut self, der: &mut Vec<u8>) {
        if der.is_empty() {
            return;
        }
        let place = self.below(der.len());
        match self.below(8) {
            0 => der.truncate(place),
            1 => {
                der.remove(place);
            }
            2 => der.insert(place, self.byte()),
            // Lengths that exceed the content.
            3 => der[place] = 0x84,
            _ => der[place] = self.byte(),
        }
    }
}

#[test]
fn the_pinned_root_is_apple_s() {
    let root = STANDARD.decode(APPLE_ROOT_G3).expect("base64");
    let found = digest(&SHA256, &root);
    let found: String = found.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let published = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179";
    assert_eq!(found, published);
}

#[test]
fn no_altered_certificate_is_taken() {
    let chain = SigningChain::apple();
    let chains = chain.trusted();
    let ders = [0, 1].map(|place: usize| {
        let certificate = STANDARD.decode(&chain.certificates[place]);
        certificate.expect("base64")
    });
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for number in 0..ALTERATIONS {
        let place = chance.below(2);
        let mut der = ders[place].clone();
        for _ in 0..=chance.below(3) {
            chance.alter(&mut der);
        }
        if der == ders[place] {
            continue;
        }
        let mut certificates = chain.certificates.clone();
        certificates[place] = STANDARD.encode(&der);
        let found = chains.key(&certificates, now()).map(drop);
        assert!(found.is_err(), "alteration {number} of {place}: {der:02x?}");
    }
    assert_eq!(chains.remembered(), 0);
}

#[test]
fn no_certificate_of_any_bytes_is_taken() {
    let chain = SigningChain::apple();
    let chains = chain.trusted();
    let mut chance = Chance(7);
    for number in 0..ALTERATIONS {
        let length = chance.below(200);
        let mut der: Vec<u8> = (0..length).map(|_| chance.byte()).collect();
        // What begins like a certificate is parsed further.
        let beginning = [
            0x30, 0x81, 0xC8, 0x30, 0x81, 0x80, 0xA0, 0x03, 0x02, 0x01, 0x02,
        ];
        let replaced = chance.below(beginning.len()).min(der.len());
        der[..replaced].copy_from_slice(&beginning[..replaced]);
        let mut certificates = chain.certificates.clone();
        certificates[chance.below(2)] = STANDARD.encode(&der);
        let found = chains.key(&certificates, now()).map(drop);
        assert_eq!(found, Err(JwsRefusal::Chain), "{number}: {der:02x?}");
    }
    assert_eq!(Chains::under(&[vec![0x30, 0x84, 0xFF]]).remembered(), 0);
}

#[test]
fn no_character_of_a_text_can_be_another() {
    let chain = SigningChain::apple();
    let text = chain.sign(&chain.header(), &payload(now()));
    let fresh = chain.trusted();
    let warm = chain.trusted();
    assert!(verify(&warm, &text, now()).is_ok());
    for place in (0..text.len()).step_by(STEP) {
        for other in ["A", "B", "."] {
            let mut altered = text.clone();
            altered.replace_range(place..=place, other);
            if altered == text {
                continue;
            }
            for chains in [&fresh, &warm] {
                let found = verify(chains, &altered, now());
                assert!(found.is_err(), "character {place} is {other}");
            }
        }
    }
}

#[test]
fn a_remembered_chain_lends_nothing_to_another() {
    let chain = SigningChain::apple();
    let other = SigningChain::apple();
    let chains = chain.trusted();
    let verdict = |signer: &SigningChain, places: [&SigningChain; 2], signed_at| {
        let [leaf, intermediate] = places;
        let mut header = chain.header();
        header["x5c"][0] = leaf.certificates[0].as_str().into();
        header["x5c"][1] = intermediate.certificates[1].as_str().into();
        let text = signer.sign(&header, &payload(signed_at));
        verify(&chains, &text, now()).map(drop)
    };
    let early = now().plus_millis(-365 * 86_400_000);
    for (signer, places, signed_at, expected) in [
        (&chain, [&chain, &chain], now(), Ok(())),
        (&other, [&other, &chain], now(), Err(JwsRefusal::Chain)),
        (&chain, [&chain, &other], now(), Err(JwsRefusal::Chain)),
        (&other, [&other, &other], now(), Err(JwsRefusal::Chain)),
        (&other, [&chain, &chain], now(), Err(JwsRefusal::Signature)),
        (&chain, [&chain, &chain], early, Err(JwsRefusal::Time)),
        (&chain, [&chain, &chain], now(), Ok(())),
    ] {
        assert_eq!(verdict(signer, places, signed_at), expected);
        assert_eq!(chains.remembered(), 1);
    }
}
