package project

// Labels on containers, networks and volumes; the names are those of docker compose.
const (
	LabelProject     = "com.docker.compose.project"
	LabelService     = "com.docker.compose.service"
	LabelNumber      = "com.docker.compose.container-number"
	LabelOneoff      = "com.docker.compose.oneoff" // "True" or "False"
	LabelSlug        = "com.docker.compose.slug"
	LabelConfigHash  = "com.docker.compose.config-hash"
	LabelImage       = "com.docker.compose.image" // digest of the image that the container was made from
	LabelDependsOn   = "com.docker.compose.depends_on"
	LabelWorkingDir  = "com.docker.compose.project.working_dir"
	LabelConfigFiles = "com.docker.compose.project.config_files"
	LabelEnvFiles    = "com.docker.compose.project.environment_file"
	LabelVersion     = "com.docker.compose.version"
	LabelNetwork     = "com.docker.compose.network" // the key in the file
	LabelVolume      = "com.docker.compose.volume"  // the key in the file
)
