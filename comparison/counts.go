package comparison

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// counts are the factors by which policies' FLOPs are fewer than the uncached model's, kept in the
// folder of a comparison.
type counts struct {
	Of    string             `json:"of"` // key of what they depend on apart from the policies
	Fewer map[string]float64 `json:"fewer"`

	path string
}

const countsFile = "counted.json"

// openCounts opens the counts that are kept at path. Those with another key, or damaged ones, are
// forgotten: they are quickly made again.
func openCounts(path, of string) (counts, error) {
	c := counts{Of: of, Fewer: map[string]float64{}, path: path}
	b, err := regularfile.Read(path, regularfile.MaxText)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	var old counts
	if json.Unmarshal(b, &old) == nil && old.Of == of && old.Fewer != nil {
		c.Fewer = old.Fewer
	}
	return c, nil
}

// add keeps the count of a policy.
func (c *counts) add(policy string, fewer float64) error {
	c.Fewer[policy] = fewer
	return writeJSON(c.path, c)
}
