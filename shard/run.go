// Package shard divides the images of a run among processes and joins what they made. A process
// writes its images as a part, a file whose name tells which run and which images it holds, so that
// a part which is lost or made twice does no harm. Merged, the parts are bit for bit what one
// process writes.
package shard

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/raster"
)

// Run is what an archive of images says of the run that they are of. Nothing in it differs between
// processes that share a run.
type Run struct {
	Identity string            `json:"identity"` // of all that image i depends on besides its class
	Images   int               `json:"images"`
	Classes  string            `json:"classes"`           // ClassHash
	Labels   bool              `json:"labels"`            // the archive has the classes, too
	Prompts  bool              `json:"prompts,omitempty"` // classes stand for prompts, which it has, too
	Settings map[string]string `json:"settings"`
}

// ClassHash is a hash of the class of each image of a run.
func ClassHash[T int | int64](classes []T) string {
	h := fnv.New64a()
	for _, class := range classes {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(class))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Same reports whether both are of the same images. Settings describe them for people alone.
func (r Run) Same(o Run) bool {
	return r.Identity == o.Identity && r.Images == o.Images && r.Classes == o.Classes && r.Labels == o.Labels
}

// key tells a run from others.
type key struct {
	identity string
	images   int
	classes  string
	labels   bool
}

func (r Run) key() key { return key{r.Identity, r.Images, r.Classes, r.Labels} }

// Texts returns the settings, sorted by their keys.
func (r Run) Texts() []raster.Text {
	var texts []raster.Text
	for key, value := range r.Settings {
		texts = append(texts, raster.Text{Key: key, Value: value})
	}
	slices.SortFunc(texts, func(a, b raster.Text) int { return strings.Compare(a.Key, b.Key) })
	return texts
}
