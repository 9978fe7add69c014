/// Adds `increment` to `value` with Kahan's compensation.
///
/// Adding the same step n times accumulates a drift of about n ε/4 relative to the sum, all of one sign. It would hide whether
/// a component has hit its limit, and grow with ever smaller steps; compensated, the error stays near one rounding.
pub(crate) fn add_compensated(value: &mut f64, carry: &mut f64, increment: f64) {
    let corrected = increment - *carry;
    let sum = *value + corrected;
    *carry = (sum - *value) - corrected;
    *value = sum;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_equal_steps() {
        let (mut value, mut carry, mut plain) = (0.0, 0.0, 0.0);
        for _ in 0..1_000_000 {
            add_compensated(&mut value, &mut carry, 1e-7);
            plain += 1e-7;
        }
        assert!((value - 0.1_f64).abs() < 2e-17, "{value:e}");
        assert!((plain - 0.1_f64).abs() > 1e-14);
    }
}
