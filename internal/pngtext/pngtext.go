// Package pngtext says, as texts of a PNG file, what a generated image depends on. All that write
// images use it, so that equal requests give equal files.
package pngtext

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/raster"
)

// IdentityKey is the key of the text with a run's identity.
const IdentityKey = "identity"

// Provenance describes for people what a run's images depend on besides their class and index.
// Names stand for policy and noise; the run's identity is of their contents.
type Provenance struct {
	Model       string // architecture and size
	Fingerprint string
	Seed        uint64
	Sampling    diffusion.Sampling // with its defaults
	Policy      string
	MinPSNR     float64 // that each image keeps; 0: nothing is promised
	Reference   string  // what that is to, or ""
	Level       string  // of the CPU
	DType       tokencache.DType
	CacheDType  tokencache.DType
	Batch       int    // matters to RNGTorch alone
	Images      int    // likewise
	Noise       string // file of the noise that the images started from, or ""
	Negative    string // prompt that guidance leads away from, or ""
}

// Of describes a request, with noise that is called so.
func Of(p *tokencache.Pipeline, req tokencache.Request, noise string) Provenance {
	negative, _ := tokencache.PromptOf(req.Negative)
	return Provenance{
		Negative:    negative,
		Model:       p.Name(),
		Fingerprint: p.Fingerprint(),
		Seed:        req.Seed,
		Sampling:    req.Sampling,
		Policy:      req.Policy.String(),
		MinPSNR:     req.MinPSNR,
		Reference:   string(req.Reference),
		Level:       p.Level(),
		DType:       p.DType(),
		CacheDType:  p.CacheDType(),
		Batch:       req.Batch,
		Images:      req.Images(),
		Noise:       noise,
	}
}

// Evidence returns what an image's checks found.
func Evidence(img tokencache.Image) []raster.Text {
	e := img.Evidence
	if e == nil {
		return nil
	}
	return []raster.Text{
		{Key: "checks", Value: strconv.Itoa(e.Checks)},
		{Key: "rejections", Value: strconv.Itoa(e.Rejections)},
		{Key: "estimated psnr", Value: strconv.FormatFloat(e.EstimatedPSNR, 'f', 1, 64)},
	}
}

// OfOneImage reports whether a text tells an image of a run from the others, and not a run from
// other runs.
func OfOneImage(key string) bool {
	return slices.Contains([]string{
		"index", "class", "class name", "prompt", "checks", "rejections", "estimated psnr",
	}, key)
}

// Texts returns it as the texts of a PNG file. Settings that few runs use are left out where they
// have no effect.
func (p Provenance) Texts() []raster.Text {
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	s := p.Sampling
	texts := []raster.Text{
		{Key: "Software", Value: "tokencache"},
		{Key: "model", Value: p.Model},
		{Key: "model fingerprint", Value: p.Fingerprint},
		{Key: "seed", Value: strconv.FormatUint(p.Seed, 10)},
		{Key: "rng", Value: string(s.RNG)},
		{Key: "sampler", Value: s.Sampler},
		{Key: "steps", Value: s.StepsText()},
		{Key: "cfg", Value: number(s.Guidance)},
		{Key: "policy", Value: p.Policy},
		{Key: "cpu level", Value: p.Level},
		{Key: "dtype", Value: p.DType.String()},
	}
	add := func(used bool, key, value string) {
		if used {
			texts = append(texts, raster.Text{Key: key, Value: value})
		}
	}
	add(p.CacheDType != tokencache.F32, "cache dtype", p.CacheDType.String())
	add(p.MinPSNR != 0, "min psnr", number(p.MinPSNR))
	add(p.MinPSNR != 0 && p.Reference != "", "min psnr to", p.Reference)
	add(s.Eta != 0, "eta", number(s.Eta))
	add(s.GuidancePower != 0, "cfg power", number(s.GuidancePower))
	add(s.GuideAll, "cfg channels", "all")
	add(s.Clip, "clip", "true")
	for _, o := range s.FlowSettings() {
		add(true, strings.ReplaceAll(o.Name, "-", " "), cmp.Or(o.Value, "true"))
	}
	add(s.RNG != diffusion.RNGOwn, "batch", strconv.Itoa(p.Batch))
	add(s.RNG != diffusion.RNGOwn, "images", strconv.Itoa(p.Images))
	add(p.Noise != "", "noise", p.Noise)
	add(p.Negative != "", "negative prompt", p.Negative)
	return texts
}

// Identity tells the images of a request from those of another: tokencache.Pipeline.Identity, of
// prompts with their texts in the order in which they occur first.
func Identity(p *tokencache.Pipeline, req tokencache.Request) string {
	id := p.Identity(req)
	if len(req.Classes) > 0 {
		return id
	}
	h := sha256.New()
	fmt.Fprintln(h, id)
	seen := map[string]bool{}
	for _, c := range req.Conditions {
		if text, _ := tokencache.PromptOf(c); !seen[text] {
			seen[text] = true
			fmt.Fprintf(h, "%q\n", text)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// OfRun returns the texts that the files of all images of a run have: its identity and what
// describes it.
func OfRun(identity string, described []raster.Text) []raster.Text {
	return append([]raster.Text{{Key: IdentityKey, Value: identity}}, described...)
}

// OfImage returns the texts that tell an image of a request from the others: its index, and what it
// shows.
func OfImage(p *tokencache.Pipeline, req tokencache.Request, img tokencache.Image) []raster.Text {
	if p.TakesPrompts() {
		prompt, _ := tokencache.PromptOf(req.Conditions[img.Index])
		return OfPrompt(img.Index, prompt)
	}
	return OfClass(img.Index, img.Class, p.ClassNames())
}

// OfPrompt is OfImage of a prompt.
func OfPrompt(index int, prompt string) []raster.Text {
	return []raster.Text{{Key: "index", Value: fmt.Sprint(index)}, {Key: "prompt", Value: prompt}}
}

// OfClass is OfImage of a class, of a model whose classes have the given names, if any. Class -1 is
// none.
func OfClass(index, class int, names []string) []raster.Text {
	own := []raster.Text{{Key: "index", Value: fmt.Sprint(index)}}
	if class >= 0 {
		own = append(own, raster.Text{Key: "class", Value: fmt.Sprint(class)})
	}
	if class >= 0 && class < len(names) {
		own = append(own, raster.Text{Key: "class name", Value: names[class]})
	}
	return own
}
