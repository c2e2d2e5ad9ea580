package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// digestImages is how many images a digest has the pixels of.
const digestImages = 16

// Digest tells a set from others: it is a hash of the number and form of the images, their classes
// and captions, if they have any, and the pixels of some of them, evenly spaced over the set. Names
// and places of files do not count. A broken image is left out if Options said so.
func (s *Set) Digest(captions []Captions) (string, error) {
	texts := make([][]string, len(captions))
	for i, c := range captions {
		texts[i] = c.Texts
	}
	h := sha256.New()
	err := json.NewEncoder(h).Encode([]any{s.Len(), s.Size, s.Channels, s.Classes, s.Labels, texts})
	if err != nil {
		return "", err
	}
	n := min(digestImages, s.Len())
	for k := range n {
		m, err := s.Image(k * s.Len() / n)
		switch {
		case err == nil:
			h.Write(m.Pix)
		case skipped(err):
			fmt.Fprintln(h, "broken")
		default:
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
