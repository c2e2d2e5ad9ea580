package output

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// provenanceOf is what an npz file says of its run, as JSON. Equal runs on different machines say
// the same.
type provenanceOf struct {
	Identity string            `json:"identity"`
	Images   int               `json:"images"`
	Classes  string            `json:"classes"` // a hash of the class of each image
	Labels   bool              `json:"labels"`
	Settings map[string]string `json:"settings"`
}

// provenance returns what the run's npz file says of it.
func (r Run) provenance() provenanceOf {
	h := fnv.New64a()
	for _, class := range r.Classes {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(class))
		h.Write(b[:])
	}
	p := provenanceOf{
		Identity: r.Identity,
		Images:   len(r.Classes),
		Classes:  hex.EncodeToString(h.Sum(nil)),
		Labels:   r.Labels,
		Settings: map[string]string{},
	}
	for _, t := range r.Texts {
		p.Settings[t.Key] = t.Value
	}
	return p
}

// equals reports whether both are of the same images.
func (p provenanceOf) equals(q provenanceOf) bool {
	return p.Identity == q.Identity && p.Images == q.Images && p.Classes == q.Classes && p.Labels == q.Labels
}

// texts returns identity and settings as a PNG file has them.
func (p provenanceOf) texts() []raster.Text {
	texts := []raster.Text{{Key: pngtext.IdentityKey, Value: p.Identity}}
	for key, value := range p.Settings {
		texts = append(texts, raster.Text{Key: key, Value: value})
	}
	slices.SortFunc(texts, func(a, b raster.Text) int { return strings.Compare(a.Key, b.Key) })
	return texts
}

// readProvenance returns what the npz file at path says of its run.
func readProvenance(path string) (p provenanceOf, err error) {
	a, err := npz.Open(path)
	if err != nil {
		return p, err
	}
	defer a.Close()
	b, err := a.About()
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	return p, err
}
