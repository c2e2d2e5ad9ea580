package checkpoint

import (
	"regexp"
	"strings"
)

var (
	// averaged matches the names under which training scripts keep the average of the weights.
	averaged = regexp.MustCompile(
		`(?i:(^|[._-])(emas?[0-9]*|ema(net|model|weights|params)|swa|shadow|averaged?|polyak)([._-]|$))` +
			`|[a-z0-9](EMA|Ema)(s?[0-9]*([._-]|$)|[A-Z])|(^|[._-])ema[A-Z]`)
	// rawForm matches names that say that the weights are not the average.
	rawForm = regexp.MustCompile(`(?i)(^|[._-])(non|no|not|without)([._-]?)ema([._-]|$)`)
	// target matches the names of the slower copy of a network, which is an average of it in the
	// scripts that keep both.
	target = regexp.MustCompile(`(?i)(^|[._-])target([._-]?(model|net|network))?$`)
	// averageWord matches what tells the name of an average's file from that of the weights.
	averageWord = regexp.MustCompile(
		`(?i:(^|[._-])(ema|swa|shadow|averaged?|polyak)([_-]?[0-9]*(\.[0-9]+)?)($|[._-]))|(EMA|Ema)($|[._-])`)
	// decayed matches the first part of a name that ends in an average's decay, which has a dot.
	decayed = regexp.MustCompile(`^((?i:[^.]*(ema|average|polyak)[^.]*[_-])?0\.[0-9]{2,})\.`)
)

// isAverage reports whether a name, of a file or of a set of weights, is that of an average.
func isAverage(name string) bool { return averaged.MatchString(name) && !rawForm.MatchString(name) }

// averageOf returns the name, of a file or a folder, of what the one called name is an average of,
// and whether it is called an average at all. The name of what it is of may be "".
func averageOf(name string) (string, bool) {
	if !isAverage(name) {
		return "", false
	}
	m := averageWord.FindStringIndex(name)
	if m == nil {
		return name, true
	}
	before, after := name[:m[0]], name[m[1]:]
	if before != "" && after != "" {
		return before + name[m[1]-1:], true
	}
	return before + after, true
}

// firstWord returns the part of a tensor's name up to its first dot, or up to the dot after an
// average's decay, such as ema_0.9999. It reports whether there is such a dot.
func firstWord(name string) (string, bool) {
	if m := decayed.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	word, _, ok := strings.Cut(name, ".")
	return word, ok
}

// averages returns the candidates that are averages of the weights. A network called target is one
// only next to another network, and what an optimizer keeps by the names of the model is none.
func averages(all []candidate) []candidate {
	var found, targets []candidate
	for _, c := range all {
		switch {
		case optimizer.MatchString(c.label) && !c.isList():
		case isAverage(c.label):
			found = append(found, c)
		case target.MatchString(c.label):
			targets = append(targets, c)
		}
	}
	if found == nil && len(targets) < len(all) {
		return targets
	}
	return found
}
