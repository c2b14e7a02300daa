"""What runs on a node, and the processes of the main job."""
