package reuse

import "slices"

// method is a kind of policy that users can name.
type method struct {
	name    string
	summary string
	paper   string
	make    func() settable // with its defaults
}

// settable is a Policy whose parameters users can set. What Set and Validate report does not name
// the method.
type settable interface {
	Policy
	Described
	Set(key, value string) error
	Validate() error
}

var methods = []method{
	{
		name:    "none",
		summary: "Computes everything.",
		make:    func() settable { return None{} },
	},
	{
		name: "tokencache",
		summary: "On I-steps everything is computed. On P-steps each block computes its most important " +
			"tokens; the others get their cached update, or its forecast.",
		paper: "Token Caching for Diffusion Transformer Acceleration, arXiv 2409.18523",
		make:  func() settable { return NewTokenCache() },
	},
	{
		name: "fora",
		summary: "Caches the outputs of attention and MLP. Every n-th step is full; the others reuse " +
			"them.",
		paper: "FORA: Fast-Forward Caching in Diffusion Transformer Acceleration, arXiv 2407.01425",
		make:  func() settable { return NewFORA() },
	},
	{
		name: "taylorseer",
		summary: "Forecasts the outputs of attention and MLP by Taylor series. The first steps and " +
			"every n-th after them are full.",
		paper: "From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers, arXiv 2503.06923",
		make:  func() settable { return NewTaylorSeer() },
	},
	{
		name:    "hicache",
		summary: "As taylorseer, but the series is one of scaled Hermite polynomials.",
		paper: "HiCache: Training-free Acceleration of Diffusion Models via Hermite Polynomial-based Feature " +
			"Caching, arXiv 2508.16984",
		make: func() settable { return NewHiCache() },
	},
	{
		name: "speca",
		summary: "As taylorseer, but forecasts are verified on the last block, which is computed, and " +
			"a step is full once the error is too large.",
		paper: "SpeCa: Accelerating Diffusion Transformers with Speculative Feature Caching, arXiv 2509.11628",
		make:  func() settable { return NewSpeCa() },
	},
	{
		name: "toca",
		summary: "Caches the outputs of attention and MLP. Between full steps attention is reused, and " +
			"the MLP computed for the tokens that receive the most attention.",
		paper: "Accelerating Diffusion Transformers with Token-wise Feature Caching, arXiv 2410.05317",
		make:  func() settable { return NewToCa() },
	},
	{
		name:    "duca",
		summary: "As toca, but every second step between full ones skips all blocks.",
		paper:   "Accelerating Diffusion Transformers with Dual Feature Caching, arXiv 2412.18911",
		make:    func() settable { return NewDuCa() },
	},
	{
		name: "cem",
		summary: "As duca, with full steps that are planned beforehand; the first, third, fifth step " +
			"after a full one is partial.",
		paper: "Plug-and-Play Fidelity Optimization for Diffusion Transformer Acceleration via Cumulative " +
			"Error Minimization, arXiv 2512.23258",
		make: func() settable { return NewCEM() },
	},
	{
		name: "clusca",
		summary: "As taylorseer, but every step computes the MLP of one token of each cluster of tokens, and " +
			"mixes it into the others' cached outputs.",
		paper: "Compute Only 16 Tokens in One Timestep: Accelerating Diffusion Transformers with Cluster-Driven " +
			"Feature Caching, arXiv 2509.10312",
		make: func() settable { return NewClusCa() },
	},
	{
		name: "dpcache",
		summary: "Forecasts the last block's output by Taylor series between key steps that are planned " +
			"beforehand.",
		paper: "Denoising as Path Planning: Training-Free Acceleration of Diffusion Models with DPCache, " +
			"arXiv 2602.22654",
		make: func() settable { return NewDPCache() },
	},
	{
		name: "dmd",
		summary: "Forecasts the model's output, or the last block's, as a sum of exponentials in time, fitted to " +
			"the last full steps by dynamic mode decomposition. From public code of HiCache++ and cache-dit.",
		make: func() settable { return NewDMD() },
	},
	{
		name: "fbcache",
		summary: "Caches what the blocks after the first add to the tokens, until the first block's own " +
			"residual has changed by the threshold. From public code of inference frameworks.",
		make: func() settable { return NewFBCache() },
	},
	{
		name: "dbcache",
		summary: "As fbcache, but compares the residual of the first front blocks, and always computes " +
			"the last back blocks. With an order the residual is forecast by Taylor series.",
		make: func() settable { return NewDBCache() },
	},
	{
		name: "teacache",
		summary: "Skips all blocks until the changes of the first block's modulated input, mapped by a " +
			"polynomial, add up to the threshold. The first and the last step are full.",
		paper: "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model, arXiv 2411.19108",
		make:  func() settable { return NewTeaCache() },
	},
	{
		name: "seacache",
		summary: "As teacache without a polynomial, on the modulated input after a filter over the grid of " +
			"tokens that suppresses what is noise at the step.",
		paper: "SeaCache: Spectral-Evolution-Aware Cache for Accelerating Diffusion Models, arXiv 2602.18993",
		make:  func() settable { return NewSeaCache() },
	},
	{
		name: "magcache",
		summary: "Skips all blocks while the calibrated magnitudes of their residual change little. The " +
			"first steps are full.",
		paper: "MagCache: Fast Video Generation with Magnitude-Aware Cache, arXiv 2506.09045",
		make:  func() settable { return NewMagCache() },
	},
	{
		name: "spectrum",
		summary: "Forecasts the tokens after the last block by Chebyshev polynomials in time, fitted to all " +
			"computed steps. The period of full steps grows.",
		paper: "Adaptive Spectral Feature Forecasting for Diffusion Sampling Acceleration, arXiv 2603.01623",
		make:  func() settable { return NewSpectrum() },
	},
	{
		name: "easycache",
		summary: "Skips all blocks, and predicts what the network last added to its input, until the " +
			"changes that its inputs let expect add up to the threshold. The last step is full.",
		paper: "Less is Enough: Training-Free Video Diffusion Acceleration via Runtime-Adaptive Caching, " +
			"arXiv 2507.02860",
		make: func() settable { return NewEasyCache() },
	},
	{
		name: "fastercache",
		summary: "Late steps skip guidance's unconditional half, which is the conditional one plus the " +
			"last difference of the two, its low and high frequencies weighted.",
		paper: "FasterCache: Training-Free Video Diffusion Model Acceleration with High Quality, arXiv 2410.19355",
		make:  func() settable { return NewFasterCache() },
	},
	{
		name: "deltadit",
		summary: "Caches what a range of blocks adds to the tokens. Between full steps, early steps skip " +
			"blocks at the back and late steps blocks in front.",
		paper: "Δ-DiT: A Training-Free Acceleration Method Tailored for Diffusion Transformers, arXiv 2406.01125",
		make:  func() settable { return NewDeltaDiT() },
	},
	{
		name: "l2c",
		summary: "Caches the outputs of attention and MLP. Every second step is full; the others compute " +
			"the branches that trained routers name.",
		paper: "Learning-to-Cache: Accelerating Diffusion Transformer via Layer Caching, arXiv 2406.01733",
		make:  func() settable { return NewL2C() },
	},
	{
		name: "tome",
		summary: "Caches nothing: at every step tokens that resemble one another are merged before " +
			"attention. A control.",
		paper: "Token Merging for Fast Stable Diffusion, arXiv 2303.17604",
		make:  func() settable { return NewToMe() },
	},
	{
		name:    "random",
		summary: "tokencache with importance=random, its default.",
		make:    func() settable { return newTokenCacheBy(Random) },
	},
	{
		name:    "update-norm",
		summary: "tokencache with importance=update-norm: a control.",
		make:    func() settable { return newTokenCacheBy(UpdateNorm) },
	},
}

// MethodInfo describes a method that Parse knows, with its defaults.
type MethodInfo struct {
	Name        string      `json:"name"`
	Summary     string      `json:"summary"`
	Paper       string      `json:"paper,omitempty"`
	Kind        Kind        `json:"kind"`
	Granularity Granularity `json:"granularity,omitempty"`
	Params      []ParamInfo `json:"params,omitempty"`
}

// ParamInfo describes a parameter of a method.
type ParamInfo struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"` // other names that Parse takes
	Help    string   `json:"help"`
	Default string   `json:"default,omitempty"` // empty: there is none
	Values  string   `json:"values"`            // what it may be, in words
}

// Methods describes the methods that Parse knows.
func Methods() []MethodInfo {
	var list []MethodInfo
	for _, m := range methods {
		p := m.make()
		info := MethodInfo{
			Name:        m.name,
			Summary:     m.summary,
			Paper:       m.paper,
			Kind:        p.Kind(),
			Granularity: p.Granularity(),
		}
		if m.name != "none" {
			info.Params = describe(p)
		}
		list = append(list, info)
	}
	return list
}

// describe describes the parameters of the method that p points to.
func describe(p any) []ParamInfo {
	list := paramsOf(p)
	var infos []ParamInfo
	for _, param := range list {
		info := ParamInfo{
			Name:    param.names[0],
			Aliases: slices.Clone(param.names[1:]),
			Help:    param.tag.Get("help"),
			Default: valueText(param.field),
			Values:  param.want(),
		}
		if shown, ok := param.tag.Lookup("default"); ok {
			info.Default = shown
		} else if info.Default == "" {
			info.Default = param.tag.Get("empty")
		}
		infos = append(infos, info)
	}
	return infos
}
