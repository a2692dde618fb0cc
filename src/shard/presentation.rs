//! A source that is a playlist: which media playlist is played of it, and how its segments are read.

use std::{collections::HashSet, rc::Rc, time::Duration};

use http::{HeaderMap, header::CONTENT_TYPE};
use url::Url;

use super::{
    Answer, By, Job, Refusal, Shard, Wanted, pcm::hash, playlists::Read, segments::Segments,
    understand::place_of,
};
use crate::{
    file::Opened,
    hls::{
        self, Offer, Parts, Variants,
        abr::{Mode, VariantIndex},
        playlist::{self, Multivariant, Playlist, Track, Variables},
    },
    pcm::{self, Choice, Input, SourceName},
};

/// What is played of a presentation.
pub(super) struct Presentation {
    parts: Rc<Parts>,
    /// The playlist that names the segments.
    of: SourceName,
    /// What tells it from others, and from other variants and versions.
    version: String,
    /// The variant, by its place in the multivariant playlist.
    variant: Option<VariantIndex>,
    /// Which of its playlists, of those that are as good as each other.
    copy: u8,
    offer: Offer,
    /// All that there are, where another may be chosen on the way.
    variants: Option<Rc<Variants>>,
}

impl Presentation {
    /// What a playlist names, of which there is nothing to choose.
    fn new(came: Came, parts: Rc<Parts>) -> Self {
        let version = came.version();
        let offer = Offer { start: start(parts.media().start(), &parts), ..Offer::default() };
        let (variant, copy, variants) = Default::default();
        Self { parts, of: came.of, version, variant, copy, offer, variants }
    }

    /// Reads it from the start.
    pub(super) fn reader(&self, shard: &Rc<Shard>, by: By) -> Input {
        let (parts, pool) = (self.parts(), shard.pool.clone());
        let segments = Rc::new(Segments::new(shard, &self.of, by));
        Input::Hls(Box::new(hls::Reader::new(parts, segments, pool, shard.options.parts)))
    }

    /// The segments.
    pub(super) fn parts(&self) -> Rc<Parts> {
        Rc::clone(&self.parts)
    }

    /// The playlist that names them.
    pub(super) fn of(&self) -> &SourceName {
        &self.of
    }

    /// What tells it from others, and from other variants and versions.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What there is to choose from.
    pub(super) fn offer(&self) -> Offer {
        self.offer.clone()
    }

    /// The variants among which one is chosen on the way.
    pub(super) fn variants(&self) -> Option<Rc<Variants>> {
        self.variants.clone()
    }

    /// The variant, by its place in the multivariant playlist.
    pub(super) fn variant(&self) -> Option<VariantIndex> {
        self.variant
    }

    /// Which of its playlists that is, of those that are as good as each other.
    pub(super) fn copy(&self) -> u8 {
        self.copy
    }
}

/// Whether a source is a list by what its origin or its name says.
pub(super) fn is_list(fields: &HeaderMap, source: &SourceName) -> bool {
    hls::is_named_list(source.path_without_query()) || hls::is_typed_list(media_type(fields))
}

fn media_type(fields: &HeaderMap) -> &str {
    fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// When a playlist wants to be played from: at the start of a segment, unless it is precise about it.
fn start(start: Option<playlist::Start>, parts: &Parts) -> Option<Duration> {
    let start = start?;
    let at = start.in_presentation(parts.media().duration());
    let tape = parts.tape();
    Some(if start.is_precise { at } else { tape.time_of(tape.part_at(at)) })
}

/// Variants of a presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every one with audio.
    All,
    /// The one that takes most.
    Best,
    /// The one of this place in the playlist.
    Number(VariantIndex),
}

impl Shard {
    /// The segments and init sections of variants of a presentation, each once.
    ///
    /// # Errors
    /// A playlist that cannot be had or is not played, and a variant that there is not.
    pub async fn resources(
        self: &Rc<Self>,
        source: &SourceName,
        which: Which,
    ) -> Result<Vec<SourceName>, Refusal> {
        let came = self.fetch_playlist(source.clone(), By::Node).await?;
        let list = match self.read_playlist(&came, &Variables::default())? {
            Read::Media(parts) => return self.resources_of(source, &parts),
            Read::Multivariant(list) => list,
        };
        let variants = Variants::of(&list, Track::Default)?;
        let best_first = variants.ladder().best_first(Mode::Auto);
        let rungs: Vec<_> = match which {
            Which::All => best_first.collect(),
            Which::Best => best_first.take(1).collect(),
            Which::Number(number) => vec![variants.choose(Mode::Fixed(number), None, &[])?],
        };
        let mut resources = Vec::new();
        for rung in rungs {
            let found = self.rung(source, &variants, rung, By::Node).await?;
            resources.extend(self.resources_of(source, &found.parts)?);
        }
        Ok(resources)
    }

    fn resources_of(&self, of: &SourceName, parts: &Parts) -> Result<Vec<SourceName>, Refusal> {
        let (mut resources, mut seen) = (Vec::new(), HashSet::new());
        for resource in (0..).map_while(|part| parts.resource(part)) {
            if seen.insert(resource.url.clone()) {
                let referred = self.files.referred(&of.name, &resource.url);
                let (name, path) = referred.ok_or(hls::Error::LeadsOut)?;
                resources.push(SourceName { name, path, is_file: of.is_file });
            }
        }
        Ok(resources)
    }

    /// What is played of a source, if it is a playlist of HLS.
    ///
    /// # Errors
    /// A playlist that cannot be had or is not played, and a choice that it does not have.
    pub(super) async fn presentation(
        self: &Rc<Self>,
        source: &SourceName,
        opened: &Opened,
        choice: &Choice,
    ) -> Result<Option<Rc<Presentation>>, Refusal> {
        if !self.is_list(opened, source).await? {
            return Ok(None);
        }
        let text = self.text(opened).await?;
        let came = self.came(source.clone(), text, opened.redirected())?;
        let found = match self.read_playlist(&came, &Variables::default()) {
            // What it is instead is seen where it is decoded.
            Err(Refusal::Hls(hls::Error::Playlist(playlist::Error::NotHls(_)))) => return Ok(None),
            Err(refusal) => return Err(refusal),
            Ok(Read::Media(parts)) => {
                hls::is_only_choice(choice.track_name(), choice.variant).map_err(Refusal::Hls)?;
                Presentation::new(came, parts)
            }
            Ok(Read::Multivariant(list)) => {
                let found = self.variant_of(source, opened, &list, choice).await?;
                let start = start(list.start, &found.parts).or(found.offer.start);
                Presentation { offer: Offer { start, ..Offer::of(&list) }, ..found }
            }
        };
        Ok(Some(Rc::new(found)))
    }

    /// The media playlist of the chosen variant. Where the choice is open another stands in for one that cannot be
    /// had.
    async fn variant_of(
        self: &Rc<Self>,
        source: &SourceName,
        opened: &Opened,
        list: &Multivariant,
        choice: &Choice,
    ) -> Result<Presentation, Refusal> {
        let variants = Rc::new(Variants::of(list, choice.track_name())?);
        let is_open = !matches!(choice.variant, Mode::Fixed(_)) && variants.are_several();
        if is_open
            && let Some(found) = self.best_here(source, opened, &variants, choice.variant).await
        {
            return Ok(found);
        }
        let estimate = self.expected(source, &self.files.url(&source.name, &source.path)?);
        let (mut lost, mut first) = (Vec::new(), None);
        loop {
            let rung = match variants.choose(choice.variant, estimate, &lost) {
                Ok(rung) => rung,
                Err(error) => return Err(first.unwrap_or(error.into())),
            };
            match self.rung(source, &variants, rung, By::Node).await {
                Ok(found) => {
                    return Ok(Presentation { variants: is_open.then_some(variants), ..found });
                }
                Err(refusal) if !is_open || refusal.is_of_node() => return Err(refusal),
                Err(refusal) => {
                    lost.push(rung);
                    first.get_or_insert(refusal);
                }
            }
        }
    }

    /// The best variant of which all is here and counted: that one has a length, and is played to its end.
    async fn best_here(
        self: &Rc<Self>,
        source: &SourceName,
        opened: &Opened,
        variants: &Rc<Variants>,
        mode: Mode,
    ) -> Option<Presentation> {
        for rung in variants.ladder().best_first(mode) {
            let Ok(found) = self.rung(source, variants, rung, By::NodeIfCached).await else {
                continue;
            };
            let mut opened = opened.clone();
            found.version.clone_into(&mut opened.version);
            let place = place_of(self, source, &opened, Some(&found), None).ok()?;
            if self.is_counted(&place).await {
                return Some(found);
            }
        }
        None
    }

    /// The media playlist of a rung. Those that are as good stand in for one that cannot be had.
    async fn rung(
        self: &Rc<Self>,
        source: &SourceName,
        variants: &Variants,
        rung: VariantIndex,
        by: By,
    ) -> Result<Presentation, Refusal> {
        let mut last = None;
        for copy in 0..variants.urls(rung).len() {
            match self.media_playlist(source, variants, (rung, copy as u8), by).await {
                Ok(found) => return Ok(found),
                Err(refusal) => last = Some(refusal),
            }
        }
        Err(last.unwrap_or(Refusal::Broken))
    }

    /// One media playlist of a rung.
    pub(super) async fn media_playlist(
        self: &Rc<Self>,
        source: &SourceName,
        variants: &Variants,
        (rung, copy): (VariantIndex, u8),
        by: By,
    ) -> Result<Presentation, Refusal> {
        let url = variants.urls(rung).get(usize::from(copy)).ok_or(Refusal::Broken)?;
        let referred = self.files.referred(&source.name, url);
        let (name, path) = referred.ok_or(hls::Error::LeadsOut)?;
        let came =
            self.fetch_playlist(SourceName { name, path, is_file: source.is_file }, by).await?;
        match self.read_playlist(&came, variants.variables())? {
            Read::Media(parts) => {
                let variant = Some(variants.number(rung));
                Ok(Presentation { variant, copy, ..Presentation::new(came, parts) })
            }
            Read::Multivariant(_) => Err(hls::Error::Nested.into()),
        }
    }

    /// A playlist, by the way of every client.
    pub(super) async fn fetch_playlist(
        self: &Rc<Self>,
        of: SourceName,
        by: By,
    ) -> Result<Came, Refusal> {
        let job = Job::Object { source: of.clone(), wanted: Wanted { by, ..Wanted::default() } };
        let mut response = self.request(job).await?;
        let redirected = match &response.answer {
            Answer::Object(head) => head.redirected.clone(),
            _ => None,
        };
        let mut text = Vec::new();
        while let Some(sent) = response.next().await.map_err(|_| hls::Error::BrokenOff)? {
            self.add(&mut text, sent.block())?;
        }
        self.came(of, text, redirected)
    }

    fn came(
        &self,
        of: SourceName,
        text: Vec<u8>,
        redirected: Option<Url>,
    ) -> Result<Came, Refusal> {
        let own = || self.files.url(&of.name, &of.path);
        let url = redirected.map_or_else(own, Ok)?;
        Ok(Came { of, url, text })
    }

    /// What a playlist says, for which `variables` may be those of the one that named it.
    pub(super) fn read_playlist(
        &self,
        came: &Came,
        variables: &Variables,
    ) -> Result<Read, Refusal> {
        let version = format!("{} {variables:?}", came.version());
        if let Some(read) = self.playlists.get(&version) {
            return Ok(read);
        }
        self.stats.borrow_mut().playlists_read += 1;
        let (limits, formats) = (&self.options.playlists, self.unwrapping.formats());
        let formats = [&[hls::IDENTITY], formats].concat();
        let parsed = playlist::parse_with_keys(&came.text, &came.url, variables, limits, &formats);
        let read = match parsed.map_err(hls::Error::Playlist)? {
            Playlist::Media(media) => Read::Media(Rc::new(Parts::new(media))),
            Playlist::Multivariant(list) => Read::Multivariant(Rc::new(list)),
        };
        self.playlists.put(&version, &read, came.text.len(), &self.pool);
        Ok(read)
    }

    /// Whether a source is a list: by its first bytes where nothing else says what it is.
    async fn is_list(&self, opened: &Opened, source: &SourceName) -> Result<bool, Refusal> {
        let says_nothing =
            hls::says_nothing(source.path_without_query(), media_type(&opened.fields));
        if is_list(&opened.fields, source) || !says_nothing {
            return Ok(is_list(&opened.fields, source));
        }
        let first = self.reader(&opened.source).block(0).await.map_err(pcm::Error::from)?;
        Ok(first.is_some_and(|first| hls::begins_as_list(&first)))
    }

    /// All of what is open.
    async fn text(&self, opened: &Opened) -> Result<Vec<u8>, Refusal> {
        let (mut reader, mut text) = (self.reader(&opened.source), Vec::new());
        while let Some(block) = reader.block(text.len() as u64).await.map_err(pcm::Error::from)? {
            self.add(&mut text, &block)?;
        }
        Ok(text)
    }

    /// Adds to a playlist, which is refused as soon as it is longer than any may be.
    fn add(&self, text: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Refusal> {
        text.extend_from_slice(bytes);
        let most = self.options.playlists.playlist_bytes;
        match text.len() > most {
            true => {
                let limit = playlist::Error::Limit { line: 0, name: "playlist_bytes", most };
                Err(hls::Error::Playlist(limit).into())
            }
            false => Ok(()),
        }
    }
}

/// A playlist as it came.
pub(super) struct Came {
    of: SourceName,
    /// Where it came from in the end, against which its URIs are resolved.
    url: Url,
    text: Vec<u8>,
}

impl Came {
    /// Segments are what their URLs name; another playlist is another presentation.
    fn version(&self) -> String {
        let SourceName { name, path, .. } = &self.of;
        format!("{name}:{path} {} {}", self.url, hash(&self.text))
    }
}
