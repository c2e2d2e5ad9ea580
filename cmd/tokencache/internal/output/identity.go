package output

import (
	"slices"

	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// ofRun are the texts of all files of the run.
func (r Run) ofRun() []raster.Text {
	return pngtext.OfRun(r.Identity, r.Texts)
}

// difference is where one run differs from another.
type difference struct{ key, got, want string }

// otherContent is the difference of runs that are described alike.
const otherContent = "content of the policy, the autoencoder or the noise"

// isRun reports whether a file with the texts found is of a run. Old ones have no identity.
func isRun(found []raster.Text) bool {
	return slices.ContainsFunc(found, func(t raster.Text) bool {
		return t.Key == pngtext.IdentityKey || t == raster.Text{Key: "Software", Value: "tokencache"}
	})
}

// differs says how the run whose files have the texts found differs from this one: not at all if it
// has its identity. Otherwise a text that differs helps the user; there is none where names stand
// for other contents than before, or where files are so old that they have no identity.
func (r Run) differs(found []raster.Text) (difference, bool) {
	own, differs := firstDifference([]raster.Text{{Key: pngtext.IdentityKey, Value: r.Identity}}, found)
	if !differs {
		return difference{}, false
	}
	if d, differs := firstDifference(r.Texts, found); differs {
		return d, true
	}
	for _, t := range found {
		if t.Key == pngtext.IdentityKey || pngtext.OfOneImage(t.Key) {
			continue
		}
		if _, differs := firstDifference([]raster.Text{t}, r.Texts); differs {
			return difference{t.Key, t.Value, ""}, true // a setting that this run does not have
		}
	}
	if own.got != "" {
		own.key = otherContent
	}
	return own, true
}

// firstDifference returns the first of the texts wanted whose value among those found is another.
func firstDifference(want, found []raster.Text) (difference, bool) {
	values := make(map[string]string)
	for _, t := range found {
		values[t.Key] = t.Value
	}
	for _, t := range want {
		if got := values[t.Key]; got != t.Value {
			return difference{t.Key, got, t.Value}, true
		}
	}
	return difference{}, false
}
