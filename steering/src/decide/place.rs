//! Where sites and viewers are.

use super::limits::DISTANCE_STEP_KM;

/// A place on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// Mean radius, km.
const EARTH_KM: f64 = 6371.0;

impl Place {
    /// A place; `None` if there is none with these degrees.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_one = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_one.then_some(Self {
            latitude,
            longitude,
        })
    }

    /// Along the great circle (haversine), in whole steps of [`DISTANCE_STEP_KM`].
    #[must_use]
    pub fn distance_to(self, other: Self) -> u16 {
        let half = |one: f64, other: f64| ((one - other).to_radians() / 2.0).sin().powi(2);
        let across = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord =
            half(self.latitude, other.latitude) + across * half(self.longitude, other.longitude);
        let km = 2.0 * EARTH_KM * chord.min(1.0).sqrt().asin();
        // At most half of the globe: 200 steps.
        (km / DISTANCE_STEP_KM) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_cities() {
        let [frankfurt, berlin, new_york] =
            [(50.1, 8.7), (52.5, 13.4), (40.7, -74.0)].map(|(n, e)| Place::new(n, e).unwrap());
        assert_eq!(frankfurt.distance_to(frankfurt), 0);
        assert_eq!(frankfurt.distance_to(berlin), 4);
        assert_eq!(new_york.distance_to(frankfurt), 61 + 1);
        let [here, there] = [(0.0, -90.0), (0.0, 90.0)].map(|(n, e)| Place::new(n, e).unwrap());
        assert_eq!(here.distance_to(there), 200);
        assert_eq!(Place::new(91.0, 0.0).or(Place::new(0.0, f64::NAN)), None);
    }
}
