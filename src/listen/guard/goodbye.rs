//! Telling a WebSocket goodbye: enough of RFC 6455's framing to find a place between two
//! frames on each side.

/// Close, status 1001 "going away", to the client.
const TO_CLIENT: &[u8] = &[0x88, 0x02, 0x03, 0xE9];
/// The same to the server, masked, as a client must.
const TO_SERVER: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

/// Where one direction stands within its frames.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the present frame's header so far.
    header: [u8; 14],
    len: usize,
    /// Payload bytes still to come.
    left: u64,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.len == 0 && self.left == 0
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(self.left);
                self.left -= here;
                bytes = bytes.get(usize::try_from(here).unwrap_or(usize::MAX)..).unwrap_or(&[]);
                continue;
            }
            if let Some(place) = self.header.get_mut(self.len) {
                *place = *byte;
            }
            self.len += 1;
            bytes = rest;
            if let Some(payload) = self.payload() {
                self.left = payload;
                self.len = 0;
            }
        }
    }

    /// The payload's length, once the header is whole.
    fn payload(&self) -> Option<u64> {
        let header = self.header.get(..self.len)?;
        let second = header.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (wide, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, u64::from(short)),
        };
        if header.len() < 2 + wide + mask {
            return None;
        }
        let wide = header.get(2..2 + wide)?;
        Some(wide.iter().fold(short, |length, byte| length << 8 | u64::from(*byte)))
    }
}

/// Both directions of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Goodbye {
    client: Frames,
    server: Frames,
    client_told: bool,
    server_told: bool,
}

impl Goodbye {
    /// Bytes that the client sent.
    pub(super) fn client_sent(&mut self, bytes: &[u8]) {
        self.client.advance(bytes);
    }

    /// Bytes that the server sent.
    pub(super) fn server_sent(&mut self, bytes: &[u8]) {
        self.server.advance(bytes);
    }

    /// The close frame for the client, once, when no frame to it is under way.
    pub(super) fn for_client(&mut self) -> Option<&'static [u8]> {
        let say = !self.client_told && self.server.is_between();
        self.client_told |= say;
        say.then_some(TO_CLIENT)
    }

    /// The close frame for the server, once, when no frame to it is under way.
    pub(super) fn for_server(&mut self) -> Option<&'static [u8]> {
        let say = !self.server_told && self.client.is_between();
        self.server_told |= say;
        say.then_some(TO_SERVER)
    }

    /// Nothing may be sent to the client any more.
    pub(super) fn is_client_told(&self) -> bool {
        self.client_told
    }

    /// Both were told.
    pub(super) fn is_said(&self) -> bool {
        self.client_told && self.server_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_goes_only_between_frames() {
        let mut goodbye = Goodbye::default();
        goodbye.server_sent(&[0x81, 0x05, b'h', b'e']);
        assert_eq!(goodbye.for_client(), None);
        goodbye.server_sent(b"llo");
        assert_eq!(goodbye.for_client(), Some(TO_CLIENT));
        assert_eq!(goodbye.for_client(), None);
    }

    #[test]
    fn long_and_masked_frames_are_followed() {
        let mut frame = vec![0x82, 0xFE, 0x01, 0x00, 1, 2, 3, 4];
        frame.extend([0; 256]);
        let mut frames = Frames::default();
        for byte in &frame {
            frames.advance(&[*byte]);
        }
        assert!(frames.is_between());
        frames.advance(&frame[..frame.len() - 1]);
        assert!(!frames.is_between());
    }
}
