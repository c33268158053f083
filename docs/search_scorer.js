// How the search of the pages ranks: headings that contain the words searched for come first, then
// pages with such a heading, then names of the reference, then pages that mention the words. The
// gallery, whose headings are names of programs, comes last.
var Scorer = {
  score: ([page, title, anchor, description, score, file, kind]) =>
    (kind === "title" ? score + 10 : score) - (page === "gallery" ? 20 : 0),
  objNameMatch: 11,
  objPartialMatch: 1,
  objPrio: {0: 0, 1: 0, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
