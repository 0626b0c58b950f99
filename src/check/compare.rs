//! The comparator and its tolerances.

use crate::device::tensor::DType;

/// Relative error of storing in an element type.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1.0 / 2048.0,
        DType::Bf16 => 1.0 / 256.0,
        DType::F32 | DType::U8 | DType::U32 => 1.0 / 16_777_216.0,
    }
}

/// How many times the naive f32 error a kernel may be off.
const NAIVE: f64 = 8.0;
/// Relative error of the device's exp and log over the range of arguments: WGSL allows 3 + 2|x| ulp.
const RELATIVE: f64 = 2e-5;
/// Absolute error as a share of the largest value of the tensor.
const SCALE: f64 = 1e-6;

/// A finite number as its element type holds it: too large a one is infinite.
fn held(dtype: DType, value: f64) -> f64 {
    let most = match dtype {
        DType::F16 => f64::from(half::f16::MAX),
        DType::Bf16 => f64::from(half::bf16::MAX),
        DType::F32 | DType::U8 | DType::U32 => f64::from(f32::MAX),
    };
    if value.abs() > most * (1.0 + rounding(dtype)) {
        value.signum() * f64::INFINITY
    } else {
        value
    }
}

/// Compares what a kernel wrote with the truth; `magnitude` is the size of what cancels in it, where something does.
/// Returns the largest error as a share of what is allowed, or the first worst element. NaN is only right where NaN is
/// expected, an infinity where the same is.
pub(crate) fn compare(
    name: &str,
    dtype: DType,
    found: &[f64],
    truth: &[f64],
    naive: &[f32],
    magnitude: f64,
) -> Result<f64, String> {
    if found.len() != truth.len() || naive.len() != truth.len() {
        return Err(format!(
            "{name}: {} values where {} are expected",
            found.len(),
            truth.len()
        ));
    }
    let truth: Vec<f64> = truth.iter().map(|t| held(dtype, *t)).collect();
    let finite = |values: &mut dyn Iterator<Item = f64>| {
        values
            .filter(|v| v.is_finite())
            .fold(0.0, |most: f64, v| most.max(v.abs()))
    };
    let largest = finite(&mut truth.iter().copied());
    let off = finite(&mut truth.iter().zip(naive).map(|(t, n)| t - f64::from(*n)));
    let mut worst = (0.0, 0);
    for (i, (f, t)) in found.iter().zip(&truth).enumerate() {
        let share = if t.is_nan() || t.is_infinite() {
            let same = f.is_nan() && t.is_nan() || f == t;
            if same { 0.0 } else { f64::INFINITY }
        } else {
            let allowed = NAIVE * off
                + (RELATIVE + rounding(dtype)) * t.abs()
                + SCALE * largest.max(magnitude)
                + f64::from(f32::MIN_POSITIVE)
                + if dtype == DType::F16 { 6e-8 } else { 0.0 };
            let share = (f - t).abs() / allowed;
            if share.is_nan() { f64::INFINITY } else { share }
        };
        if share > worst.0 {
            worst = (share, i);
        }
    }
    if worst.0.is_nan() || worst.0 > 1.0 {
        let wrong = found
            .iter()
            .zip(&truth)
            .filter(|(f, t)| {
                let near = (*f - *t).abs() <= RELATIVE * t.abs() + SCALE * largest;
                !near
            })
            .count();
        return Err(format!(
            "{name}[{}] is {:e}, expected {:e} ({:.2} times the tolerance; {wrong} of {} elements far off)",
            worst.1,
            found[worst.1],
            truth[worst.1],
            worst.0,
            truth.len()
        ));
    }
    Ok(worst.0)
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::DType;

    fn check(found: f64, truth: f64) -> Result<f64, String> {
        compare(
            "x",
            DType::F32,
            &[1.0, found],
            &[1.0, truth],
            &[1.0, truth as f32],
            0.0,
        )
    }

    #[test]
    fn right_values_pass_and_wrong_ones_do_not() {
        assert!(check(0.5, 0.5).is_ok());
        assert!(check(0.5 + 1e-7, 0.5).is_ok());
        assert!(check(0.5 + 1e-4, 0.5).is_err());
        assert!(check(-0.5, 0.5).is_err());
    }

    #[test]
    fn nan_and_infinity_must_match() {
        assert!(check(f64::NAN, 0.5).is_err());
        assert!(check(0.5, f64::NAN).is_err());
        assert!(check(f64::NAN, f64::NAN).is_ok());
        assert!(check(f64::INFINITY, f64::INFINITY).is_ok());
        assert!(check(f64::NEG_INFINITY, f64::INFINITY).is_err());
        assert!(check(1e30, f64::INFINITY).is_err());
        assert!(check(f64::INFINITY, 1e39).is_ok());
        assert!(check(f64::INFINITY, 1e38).is_err());
        assert!(check(f64::NAN, 1e39).is_err());
        assert!(check(f64::INFINITY, 0.5).is_err());
    }

    #[test]
    fn lengths_must_match() {
        assert!(compare("x", DType::F32, &[1.0], &[1.0, 2.0], &[1.0, 2.0], 0.0).is_err());
    }
}
