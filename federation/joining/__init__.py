"""Coming into rooms of other servers, and letting their users into ours."""
