package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Push writes the one image of a docker-archive to a registry under its full
// name, registry.example.com/team/agent:dev, with the credentials that docker,
// podman or a credential helper of theirs has for it. What is there already is
// not pushed again, so that the right to pull suffices for it. The result says
// whether something was pushed.
func Push(ctx context.Context, archive, as string) (bool, error) {
	tag, err := parse(as)
	if err != nil {
		return false, fmt.Errorf("pushing %s: %w", archive, err)
	}
	made, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return false, fmt.Errorf("reading image archive %s: %w", archive, err)
	}
	digest, err := made.Digest()
	if err != nil {
		return false, fmt.Errorf("reading image archive %s: %w", archive, err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if there, err := remote.Head(tag, options...); err == nil && there.Digest == digest {
		return false, nil
	}
	if err := remote.Write(tag, made, options...); err != nil {
		return false, fmt.Errorf("pushing %s, with the credentials of docker login: %w", as, err)
	}
	return true, nil
}

// parse reads an image's full name.
func parse(full string) (name.Tag, error) {
	tag, err := name.NewTag(full, name.StrictValidation)
	if err != nil {
		return name.Tag{}, fmt.Errorf("the name %q is not a full one, with a registry and a tag, as example.com/worker:dev is: %w", full, err)
	}
	return tag, nil
}
