//! The piece as a presentation of HLS: three variants of AAC in fragments of MP4, and the lowest once more in
//! transport streams, encrypted with AES-128.
//!
//! Segments last 4 s; what is left for the last of them is one packet.
//!
//! Pure: no I/O, no clock, no executor.

/// One file of it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its name at the demo origin.
    pub name: &'static str,
    /// The media type an origin serves it with.
    pub content_type: &'static str,
    /// The file itself.
    pub bytes: &'static [u8],
}

/// The playlist of the variants.
pub const MASTER: &str = "hls/master.m3u8";

const LIST: &str = "application/vnd.apple.mpegurl";
const FMP4: &str = "audio/mp4";
const TS: &str = "video/mp2t";
const KEY: &str = "application/octet-stream";

macro_rules! part {
    ($name:literal, $type:ident) => {
        Part {
            name: concat!("hls/", $name),
            content_type: $type,
            bytes: include_bytes!(concat!("hls/", $name)),
        }
    };
}

/// All of it.
pub const PARTS: &[Part] = &[
    part!("master.m3u8", LIST),
    part!("48/list.m3u8", LIST),
    part!("48/init.mp4", FMP4),
    part!("48/part0.m4s", FMP4),
    part!("48/part1.m4s", FMP4),
    part!("48/part2.m4s", FMP4),
    part!("48/part3.m4s", FMP4),
    part!("48/part4.m4s", FMP4),
    part!("48/part5.m4s", FMP4),
    part!("48/part6.m4s", FMP4),
    part!("96/list.m3u8", LIST),
    part!("96/init.mp4", FMP4),
    part!("96/part0.m4s", FMP4),
    part!("96/part1.m4s", FMP4),
    part!("96/part2.m4s", FMP4),
    part!("96/part3.m4s", FMP4),
    part!("96/part4.m4s", FMP4),
    part!("96/part5.m4s", FMP4),
    part!("96/part6.m4s", FMP4),
    part!("160/list.m3u8", LIST),
    part!("160/init.mp4", FMP4),
    part!("160/part0.m4s", FMP4),
    part!("160/part1.m4s", FMP4),
    part!("160/part2.m4s", FMP4),
    part!("160/part3.m4s", FMP4),
    part!("160/part4.m4s", FMP4),
    part!("160/part5.m4s", FMP4),
    part!("160/part6.m4s", FMP4),
    part!("aes/list.m3u8", LIST),
    part!("aes/the.key", KEY),
    part!("aes/part0.ts", TS),
    part!("aes/part1.ts", TS),
    part!("aes/part2.ts", TS),
    part!("aes/part3.ts", TS),
    part!("aes/part4.ts", TS),
    part!("aes/part5.ts", TS),
    part!("aes/part6.ts", TS),
];
