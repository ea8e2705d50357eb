//! Sines and logarithms in whole numbers: every node gets the same bits, whatever its machine.
//!
//! Numbers are multiples of 2^-60. Sines are right to a few units; logarithms are cut off at 2^-32.

/// One, in units of 2^-60.
pub(super) const ONE: i64 = 1 << 60;
/// Bits behind the point of a logarithm.
pub(super) const LOG_BITS: u32 = 32;

/// π in units of 2^-60.
const PI: i64 = 0x3243_F6A8_885A_308D;

/// The product of two numbers, rounded to the nearest.
pub(super) fn mul(a: i64, b: i64) -> i64 {
    narrow((i128::from(a) * i128::from(b) + (1 << 59)) >> 60)
}

fn narrow(wide: i128) -> i64 {
    // No caller comes near the bounds: factors are below 4.
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

/// Cosine and sine of the angle 2π · `part` / `whole`.
pub(super) fn turn(part: u32, whole: u32) -> (i64, i64) {
    let (part, whole) = (u64::from(part), u64::from(whole.max(1)));
    let quarters = 4 * part / whole;
    let rest = 4 * part % whole;
    // rest / whole quarter turns are left: an angle below π/2.
    let angle = narrow(i128::from(PI) * i128::from(rest) / (2 * i128::from(whole)));
    let (cos, sin) = (series(angle, 0), series(angle, 1));
    match quarters % 4 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// Σ ± angle^n / n! over n = first, first + 2, …
fn series(angle: i64, first: i64) -> i64 {
    let square = mul(angle, angle);
    let mut term = if first == 0 { ONE } else { angle };
    let mut sum = term;
    let mut n = first;
    while term != 0 {
        term = -mul(term, square) / ((n + 1) * (n + 2));
        sum += term;
        n += 2;
    }
    sum
}

/// log2 of `value` · 2^-120, in units of 2^-32; the smallest number for zero.
pub(super) fn log2(value: u128) -> i64 {
    if value == 0 {
        return i64::MIN;
    }
    let zeros = value.leading_zeros();
    let whole = 7 - i64::from(zeros);
    let mut mantissa = u64::try_from((value << zeros) >> 64).unwrap_or(u64::MAX);
    let mut fraction = 0;
    for _ in 0..LOG_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let above = square >> 64;
        mantissa = u64::try_from(square >> above).unwrap_or(u64::MAX);
        fraction = fraction << 1 | i64::from(above == 1);
    }
    (whole << LOG_BITS) + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "compared with floats")]
    fn float(fixed: i64) -> f64 {
        fixed as f64 / ONE as f64
    }

    #[test]
    fn sines_agree_with_the_libraries() {
        for whole in [3, 4, 5, 7, 8, 16, 200, 256, 512] {
            for part in 0..whole {
                let (cos, sin) = turn(part, whole);
                let angle = std::f64::consts::TAU * f64::from(part) / f64::from(whole);
                assert!((float(cos) - angle.cos()).abs() < 1e-15, "{part}/{whole}");
                assert!((float(sin) - angle.sin()).abs() < 1e-15, "{part}/{whole}");
                let norm = mul(cos, cos) + mul(sin, sin);
                assert!((norm - ONE).abs() < 16, "{part}/{whole}: {}", norm - ONE);
            }
        }
    }

    #[test]
    fn logarithms_are_exact_at_powers_and_close_between() {
        assert_eq!(log2(1 << 120), 0);
        assert_eq!(log2(1 << 127), 7 << LOG_BITS);
        assert_eq!(log2(1), -120 << LOG_BITS);
        let three = log2(3 << 120);
        #[expect(clippy::cast_precision_loss, reason = "compared with floats")]
        let close = three as f64 / 2f64.powi(32);
        assert!((close - 3f64.log2()).abs() < 1e-9);
    }
}
