package tokencache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
)

// Identity identifies a run: requests of equal identity give image i the same bits, if its
// condition is the same. It is a hash of all else that an image depends on: weights and
// configuration of the model, weights and scale of the autoencoder, what the policy does, Sampling
// with the weights of a learned solver, the seed, given noise, with RNGTorch the batch and the
// number of images, the CPU level,
// the number format, and of models with many tokens the version of attention to them. Names and
// places of files do not count.
func (p *Pipeline) Identity(req Request) string {
	id := struct {
		Version     int // of what is hashed
		Model       string
		Config      any
		Autoencoder autoencoderID
		Policy      string
		Sampling    Sampling
		Solver      string `json:",omitempty"`
		Negative    string `json:",omitempty"`
		Seed        uint64
		Noise       string `json:",omitempty"`
		Batch       int    `json:",omitempty"`
		Images      int    `json:",omitempty"`
		Level       string
		DType       string `json:",omitempty"` // not of float32, the only one there once was
		Cache       string `json:",omitempty"` // likewise
		Attention   int    `json:",omitempty"` // of few tokens it has had one version
		AttentionIn string `json:",omitempty"` // not float32, which it once was in every number format
	}{
		Version:  1,
		Model:    p.Fingerprint(),
		Config:   p.config,
		Policy:   p.policyContent(req),
		Sampling: req.Sampling.WithDefaults(),
		Solver:   p.SolverDigest(req.Sampling),
		Seed:     req.Seed,
		Level:    p.Level(),
	}
	if p.DType() != F32 {
		id.DType = p.DType().String()
	}
	if p.CacheDType() != F32 {
		id.Cache = p.CacheDType().String()
	}
	if req.Negative != nil {
		id.Negative = fmt.Sprintf("%T %v", req.Negative, req.Negative)
		if text, ok := PromptOf(req.Negative); ok {
			id.Negative = text
		}
	}
	if shape := p.net.Shape(); shape.Tokens >= kernel.LongAttention ||
		p.decoder != nil && shape.LatentRows*shape.LatentCols >= kernel.LongAttention {
		id.Attention = kernel.AttentionVersion
	}
	if d := kernel.AttentionIn(p.DType()); d != F32 {
		id.AttentionIn = d.String()
	}
	id.Autoencoder = p.autoencoder()
	if req.Noise != nil {
		id.Noise = hashFloats(req.Noise)
	}
	if id.Sampling.RNG == RNGTorch {
		id.Batch, id.Images = max(req.Batch, 0), req.Images()
		if id.Batch == 0 {
			id.Batch = defaultBatch
		}
	}
	text, err := json.Marshal(id)
	if err != nil { // only numbers that are not finite, which no request may have
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// autoencoderID is what images depend on of an autoencoder; the zero value is none.
type autoencoderID struct {
	Fingerprint  string
	Scale, Shift float64
}

func (p *Pipeline) autoencoder() (id autoencoderID) {
	if p.decoder != nil {
		s := p.decoder.Spec()
		id = autoencoderID{s.Fingerprint, s.ScaleFactor, s.ShiftFactor}
	}
	return id
}

// Autoencoder identifies the weights and the scale of the autoencoder; it is "" for a model of
// pixels.
func (p *Pipeline) Autoencoder() string {
	if p.decoder == nil {
		return ""
	}
	id := p.autoencoder()
	return fmt.Sprintf("%s %g %g", id.Fingerprint, id.Scale, id.Shift)
}

// policyContent says what a request's policy does, which keeps a PSNR if that is asked for, and
// where there is none computes everything.
func (p *Pipeline) policyContent(req Request) string {
	policy := req.Policy
	if policy == nil {
		policy = reuse.None{}
	}
	if req.MinPSNR != 0 {
		guarded, err := reuse.Guard(policy, req.promise(), p.Setting(req.Sampling))
		if err == nil { // else there is no run to identify
			policy = guarded
		}
	}
	return reuse.ContentHash(policy)
}

// hashFloats identifies numbers bit for bit.
func hashFloats(x []float32) string {
	h := sha256.New()
	var b [4]byte
	for _, v := range x {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
