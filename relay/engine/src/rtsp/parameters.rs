//! The parameter sets that a camera has told, in SDP or in band, whenever and however it did. Pure; used by `pictures`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::h264::{self, ParameterSetId, Sps};

/// Of each kind; cameras have one or two.
const MAX_SETS: usize = 16;
const MAX_BYTES: usize = 1024;

/// As cameras write it: with the padding that belongs there, or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

struct SpsSet {
    id: u8,
    nal: Vec<u8>,
    parsed: Sps,
}

struct PpsSet {
    id: u8,
    sps: u8,
    nal: Vec<u8>,
}

/// The newest of each identifier.
#[derive(Default)]
pub struct ParameterSets {
    sps: Vec<SpsSet>,
    pps: Vec<PpsSet>,
    /// What was wrong with an SPS that could not be read.
    pub unreadable: Option<String>,
}

impl ParameterSets {
    /// Takes what a session description says of the format `payload_type`: `sprop-parameter-sets` (RFC 6184, 8.2.1).
    pub fn learn_sdp(&mut self, sdp: &[u8], payload_type: u8) {
        let text = String::from_utf8_lossy(sdp);
        let formats = text.lines().filter_map(|line| {
            let (format, parameters) = line.trim().strip_prefix("a=fmtp:")?.split_once(' ')?;
            (format.parse() == Ok(payload_type)).then_some(parameters)
        });
        let sets = formats
            .flat_map(|parameters| parameters.split(';'))
            .filter_map(|parameter| parameter.trim().split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("sprop-parameter-sets"))
            .flat_map(|(_, sets)| sets.split(','));
        for set in sets {
            if let Ok(bytes) = BASE64.decode(set.trim()) {
                h264::nals_annex_b(&bytes).for_each(|nal| self.learn(nal));
            }
        }
    }

    /// Takes a NAL unit; others than parameter sets are passed over. What cannot be read replaces nothing.
    pub fn learn(&mut self, nal: &[u8]) {
        if nal.len() > MAX_BYTES {
            return;
        }
        match h264::parameter_set_id(nal) {
            Some(ParameterSetId::Sps(id)) => self.learn_sps(id, nal),
            Some(ParameterSetId::Pps { pps, sps }) => self.learn_pps(pps, sps, nal),
            None => {}
        }
    }

    fn learn_sps(&mut self, id: u8, nal: &[u8]) {
        let room = self.sps.len() < MAX_SETS;
        let known = self.sps.iter_mut().find(|set| set.id == id);
        if known.as_ref().is_some_and(|set| set.nal == nal) {
            return;
        }
        let parsed = match Sps::parse(nal) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.unreadable = Some(error.to_string());
                return;
            }
        };
        let nal = nal.to_vec();
        match known {
            Some(set) => (set.nal, set.parsed) = (nal, parsed),
            None if room => self.sps.push(SpsSet { id, nal, parsed }),
            None => {}
        }
    }

    fn learn_pps(&mut self, id: u8, sps: u8, nal: &[u8]) {
        let room = self.pps.len() < MAX_SETS;
        let nal = nal.to_vec();
        match self.pps.iter_mut().find(|set| set.id == id) {
            Some(set) => (set.sps, set.nal) = (sps, nal),
            None if room => self.pps.push(PpsSet { id, sps, nal }),
            None => {}
        }
    }

    /// The SPS that a slice refers to, its NAL unit, and all picture parameter sets that go with it: the slices that
    /// follow may refer to another one. None where one of them was not told.
    pub fn active<'a>(
        &'a self,
        slice: &[u8],
    ) -> Option<Active<'a, impl Iterator<Item = &'a [u8]> + use<'a>>> {
        let id = h264::pps_of_slice(slice)?;
        let id = self.pps.iter().find(|set| set.id == id)?.sps;
        let sps = self.sps.iter().find(|set| set.id == id)?;
        let pps = self.pps.iter().filter(move |set| set.sps == id);
        Some(Active {
            sps: &sps.parsed,
            sps_nal: &sps.nal,
            pps_nals: pps.map(|set| set.nal.as_slice()),
        })
    }
}

/// What a coded video sequence is read with.
pub struct Active<'a, P> {
    pub sps: &'a Sps,
    pub sps_nal: &'a [u8],
    pub pps_nals: P,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// Of x264: 320x240 and 1920x1080, both with identifier 0.
    const SMALL: &str = "6742c015d90141fb016a0c0c0d4a000003000200000300651e2c5c90";
    const LARGE: &str = "67640028acd940780227e5c05a808080a000007d20001d4c11e30632c0";
    const PPS: &str = "68cb8cb2";
    const IDR: &str = "658884";

    fn width(sets: &ParameterSets) -> Option<u32> {
        Some(sets.active(&hex(IDR))?.sps.width)
    }

    #[test]
    fn sets_are_told_in_any_order_and_form() {
        let encode = |nal: &[u8]| BASE64.encode(nal);
        let (sps, pps) = (hex(SMALL), hex(PPS));
        let joined = [&[0, 0, 0, 1], &sps[..], &[0, 0, 1], &pps].concat();
        let unpadded = encode(&pps).trim_end_matches('=').to_owned();
        for sprop in [
            format!("{},{}", encode(&sps), encode(&pps)),
            format!("{},{unpadded},", encode(&sps)),
            format!("{},{},{}", encode(&pps), encode(&hex(LARGE)), encode(&sps)),
            format!("{}, {}", encode(&sps), encode(&joined)),
            encode(&joined),
        ] {
            let fmtp = format!("packetization-mode=1; Sprop-Parameter-Sets={sprop};x=y");
            let sdp = format!("v=0\r\na=fmtp:97 a=b\r\na=fmtp:96 {fmtp}\r\n");
            let mut sets = ParameterSets::default();
            sets.learn_sdp(sdp.as_bytes(), 96);
            assert_eq!(width(&sets), Some(320), "{sdp}");
        }
        for sdp in [
            "a=fmtp:96 sprop-parameter-sets=,!,AA==",
            "a=fmtp:96",
            "\u{fffd}",
        ] {
            let mut sets = ParameterSets::default();
            sets.learn_sdp(sdp.as_bytes(), 96);
            assert_eq!(width(&sets), None);
        }
    }

    #[test]
    fn an_sps_that_cannot_be_read_replaces_none() {
        let mut sets = ParameterSets::default();
        sets.learn(&hex(PPS));
        assert_eq!(width(&sets), None);
        sets.learn(&hex(SMALL));
        assert_eq!(width(&sets), Some(320));
        sets.learn(&hex(&SMALL[..12]));
        assert!(sets.unreadable.is_some());
        assert_eq!(width(&sets), Some(320));
        sets.learn(&hex(LARGE));
        assert_eq!(width(&sets), Some(1920));
    }
}
