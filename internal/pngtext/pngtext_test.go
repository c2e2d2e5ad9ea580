package pngtext

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
)

// TestProvenance checks the texts that a run's files say of it.
func TestProvenance(t *testing.T) {
	plain := "Software=tokencache|model=DiT|model fingerprint=abc|seed=18446744073709551615|rng=own|" +
		"sampler=ddim|steps=50|cfg=1.5|policy=none|cpu level=avx2|dtype=f32"
	for _, test := range []struct {
		name   string
		change func(p *Provenance)
		want   string
	}{
		{"plain", func(p *Provenance) {}, plain},
		{"batch of own numbers", func(p *Provenance) { p.Batch, p.Images = 7, 9 }, plain},
		{"promise", func(p *Provenance) { p.MinPSNR = 45.5 }, plain + "|min psnr=45.5"},
		{"eta", func(p *Provenance) { p.Sampling.Eta = 0.5 }, plain + "|eta=0.5"},
		{"power", func(p *Provenance) { p.Sampling.GuidancePower = 4 }, plain + "|cfg power=4"},
		{"all channels", func(p *Provenance) { p.Sampling.GuideAll = true }, plain + "|cfg channels=all"},
		{"clip", func(p *Provenance) { p.Sampling.Clip = true }, plain + "|clip=true"},
		{"noise", func(p *Provenance) { p.Noise = "x.safetensors" }, plain + "|noise=x.safetensors"},
		{
			"torch",
			func(p *Provenance) { p.Sampling.RNG, p.Batch, p.Images = diffusion.RNGTorch, 7, 9 },
			strings.Replace(plain, "rng=own", "rng=torch-cpu", 1) + "|batch=7|images=9",
		},
		{
			"spacing",
			func(p *Provenance) { p.Sampling.Spacing = "10,15,25" },
			strings.Replace(plain, "steps=50", "steps=10,15,25", 1),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := Provenance{
				Model:       "DiT",
				Fingerprint: "abc",
				Seed:        1<<64 - 1,
				Sampling:    diffusion.Sampling{Guidance: 1.5}.WithDefaults(),
				Policy:      "none",
				Level:       "avx2",
			}
			test.change(&p)
			var got []string
			for _, text := range p.Texts() {
				got = append(got, text.Key+"="+text.Value)
			}
			if got := strings.Join(got, "|"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
