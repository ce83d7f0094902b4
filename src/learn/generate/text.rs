//! Numbers → the bytes of a log line, without the formatting machinery of the standard library.

/// Lines that wait to be written.
#[derive(Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let start = digits_at_end(number, &mut digits);
        self.bytes(&digits[start..]);
    }

    /// `number` in decimal, with zeros in front up to `width` (at most 20) digits.
    #[inline]
    pub(super) fn padded(&mut self, number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let start = digits_at_end(number, &mut digits);
        self.bytes(&digits[start.min(20 - width)..]);
    }

    /// Hundredths as a number with two decimals.
    #[inline]
    pub(super) fn hundredths(&mut self, hundredths: u64) {
        self.number(hundredths / 100);
        self.byte(b'.');
        self.padded(hundredths % 100, 2);
    }

    /// Billionths, below 10⁹, as a fraction with nine decimals.
    #[inline]
    pub(super) fn fraction(&mut self, billionths: u32) {
        self.bytes(b"0.");
        self.padded(u64::from(billionths), 9);
    }

    #[inline]
    pub(super) fn hex(&mut self, number: u32) {
        self.bytes(&hex(number));
    }
}

/// One line that is put together in place; the caller keeps its end.
pub(super) struct Line(pub(super) [u8; 512]);

impl Default for Line {
    fn default() -> Self {
        Line([0; 512])
    }
}

impl Line {
    /// Puts `number` at `end` and returns the new end.
    #[inline]
    pub(super) fn signed(&mut self, mut end: usize, number: i32) -> usize {
        if number < 0 {
            self.0[end] = b'-';
            end += 1;
        }
        let mut rest = number.unsigned_abs();
        if rest < 10 {
            self.0[end] = b'0' + rest as u8;
            return end + 1;
        }
        let past = end + 1 + rest.ilog10() as usize;
        for cell in self.0[end..past].iter_mut().rev() {
            *cell = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        past
    }
}

/// Eight lowercase hexadecimal digits.
#[inline]
pub(super) fn hex(number: u32) -> [u8; 8] {
    // Spread the eight nibbles over eight bytes, then turn all bytes into digits at once.
    let mut x = u64::from(number);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((x + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (x + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Writes the decimal digits of `number` at the end of `digits` and returns where they start.
#[inline]
fn digits_at_end(mut number: u64, digits: &mut [u8; 20]) -> usize {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_what_the_standard_library_writes() {
        let mut numbers = vec![0, 9, 10, 99, 100, u64::MAX, u64::from(u32::MAX)];
        numbers.extend((0..500).map(|step| super::super::draw::scramble(step) >> (step % 64)));
        for number in numbers {
            let (mut text, low) = (Text::default(), number as u32);
            text.number(number);
            text.byte(b' ');
            text.hex(low);
            text.byte(b' ');
            text.hundredths(u64::from(low));
            text.byte(b' ');
            text.fraction(low % 1_000_000_000);
            text.byte(b' ');
            let mut line = Line::default();
            let end = line.signed(7, low as i32);
            text.bytes(&line.0[7..end]);
            let expected = format!(
                "{number} {low:08x} {}.{:02} 0.{:09} {}",
                low / 100,
                low % 100,
                low % 1_000_000_000,
                low as i32
            );
            assert_eq!(String::from_utf8_lossy(text.as_bytes()), expected);
        }
    }
}
