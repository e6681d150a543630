// Korean words in the search. A word may carry a particle (토큰을, 토큰은), and two syllables
// may be the start of a longer one; the search of Sphinx knows neither. A Korean word that
// is not in the index is taken for one that is: the longest that it begins with, or else
// the shortest that begins with it.
"use strict";
if (typeof Search !== "undefined") {
  const HANGUL = /\p{Script=Hangul}/u;

  const nearest = (word, known) => {
    if (!HANGUL.test(word) || known.includes(word)) return word;
    const byLength = known.filter((term) => HANGUL.test(term) && term.length > 1)
      .sort((a, b) => a.length - b.length);
    return byLength.findLast((term) => word.startsWith(term))
      ?? byLength.find((term) => term.startsWith(word))
      ?? word;
  };

  const search = Search.performTermsSearch;
  Search.performTermsSearch = (words, excluded) => {
    const { terms, titleterms } = Search._index;
    const known = [...Object.keys(terms), ...Object.keys(titleterms)];
    return search(new Set([...words].map((word) => nearest(word, known))), excluded);
  };
}
