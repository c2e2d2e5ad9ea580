package output

import (
	"encoding/json"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/shard"
)

// about returns what the run's npz file says of it.
func (r Run) about() shard.Run {
	about := shard.Run{
		Identity: r.Identity,
		Images:   len(r.Classes),
		Classes:  shard.ClassHash(r.Classes),
		Labels:   r.Labels,
		Prompts:  r.Prompts,
		Settings: map[string]string{},
	}
	for _, t := range r.Texts {
		about.Settings[t.Key] = t.Value
	}
	return about
}

// textsOf returns identity and settings as a PNG file has them.
func textsOf(r shard.Run) []raster.Text {
	return append([]raster.Text{{Key: pngtext.IdentityKey, Value: r.Identity}}, r.Texts()...)
}

// readAbout returns what the npz file at path says of its run.
func readAbout(path string) (r shard.Run, err error) {
	a, err := npz.Open(path)
	if err != nil {
		return r, err
	}
	defer a.Close()
	b, err := a.About()
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}
