//! The viewers of all streams: by id, and by the place that each keeps, by which the fan-out finds a viewer without a
//! lookup and can ask for his memory before it touches it.

use std::collections::HashMap;

use crate::prefetch::prefetch_ends;
use crate::viewer::Viewer;

/// Where a viewer lies in a [`Roster`], until he is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u32);

#[derive(Default)]
pub struct Roster {
    places: Vec<Option<Box<Viewer>>>,
    free: Vec<Place>,
    by_id: HashMap<u64, Place>,
}

impl Roster {
    pub fn insert(&mut self, viewer: Viewer) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            Place(self.places.len() as u32 - 1)
        });
        self.by_id.insert(viewer.id, place);
        self.places[place.0 as usize] = Some(Box::new(viewer));
        place
    }

    pub fn remove(&mut self, id: u64) -> Option<(Place, Viewer)> {
        let place = self.by_id.remove(&id)?;
        let viewer = self.places.get_mut(place.0 as usize)?.take()?;
        self.free.push(place);
        Some((place, *viewer))
    }

    pub fn place(&self, id: u64) -> Option<Place> {
        self.by_id.get(&id).copied()
    }

    pub fn get(&self, id: u64) -> Option<&Viewer> {
        self.at(self.place(id)?)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Viewer> {
        self.at_mut(self.place(id)?)
    }

    pub fn at(&self, place: Place) -> Option<&Viewer> {
        self.places.get(place.0 as usize)?.as_deref()
    }

    pub fn at_mut(&mut self, place: Place) -> Option<&mut Viewer> {
        self.places.get_mut(place.0 as usize)?.as_deref_mut()
    }

    /// Whose places these are.
    pub fn ids(&self, places: &[Place]) -> impl Iterator<Item = u64> {
        let viewers = places.iter().filter_map(|place| self.at(*place));
        viewers.map(|viewer| viewer.id)
    }

    /// Has what the fan-out needs of these viewers come from memory meanwhile.
    pub fn prefetch(&self, places: &[Place]) {
        let viewers = || places.iter().filter_map(|place| self.at(*place));
        // Their pages first, which are then looked up side by side; what lies in them has to wait for that.
        viewers().for_each(prefetch_ends);
        viewers().for_each(Viewer::prefetch);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Viewer> {
        self.places.iter().flatten().map(|viewer| &**viewer)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Viewer> {
        self.places.iter_mut().flatten().map(|viewer| &mut **viewer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ice::Ice;
    use crate::media::Negotiated;

    fn viewer(id: u64) -> Viewer {
        let negotiated = Negotiated {
            payload_type: 96,
            ssrc: 1,
            cname: String::new(),
            mid: None,
            playout_delay: None,
            rtx: None,
        };
        let ice = Ice::new("ours", "password", "theirs", Instant::now());
        Viewer::new(id, 1, ice, negotiated)
    }

    #[test]
    fn who_comes_takes_the_place_of_who_left_and_nobody_elses() {
        let mut roster = Roster::default();
        let places: Vec<Place> = (10..14).map(|id| roster.insert(viewer(id))).collect();
        let (left, gone) = roster.remove(11).unwrap();
        assert_eq!((left, gone.id), (places[1], 11));
        assert!(
            roster.get(11).is_none() && roster.at(left).is_none() && roster.remove(11).is_none()
        );
        assert_eq!(roster.ids(&places).collect::<Vec<_>>(), [10, 12, 13]);
        assert_eq!(roster.insert(viewer(20)), left);
        assert_eq!(roster.ids(&places).collect::<Vec<_>>(), [10, 20, 12, 13]);
        assert_eq!(roster.get_mut(20).map(|viewer| viewer.id), Some(20));
        assert_eq!(roster.iter().count(), 4);
    }
}
